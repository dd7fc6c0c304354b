"""Configuration of the documentation site (Sphinx with MyST notebooks).

Build it with `sphinx-build -W -b html docs docs/_build/html`; warnings are errors. Tutorials are executed, and their
results are kept in `docs/_build/.jupyter_cache`, so that a second build runs only what changed.
"""

from __future__ import annotations

import re
from importlib.metadata import version as installed
from types import FunctionType

project = "latentmd"
author = "latentmd authors"
copyright = author
release = installed("latentmd")
version = release

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "**.ipynb_checkpoints"]
html_theme = "furo"
html_title = f"latentmd {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "smartquotes", "substitution"]
myst_substitutions = {"release": release}
myst_heading_anchors = 3
suppress_warnings = [
    "myst.xref_missing",  # links to files of the repository outside docs/, which tests/docs checks
    "ref.python",  # a name that another module gives out too: either page will do
]

nb_execution_in_temp = True
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_mock_imports = ["openmmml", "openmmtorch", "transformers", "umap", "cupy"]
napoleon_google_docstring = True
napoleon_numpy_docstring = False


def _plain_docstring(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Make docstrings valid reStructuredText: Markdown tables become list tables, other bars and stars are escaped."""
    out: list[str] = []
    for line in lines:
        bare = line.strip()
        if bare.startswith("|") and bare.endswith("|"):
            cells = [cell.strip().replace("`", "``") for cell in bare.strip("|").split("|")]
            if all(set(cell) <= {"-"} and cell for cell in cells):
                continue
            if not out or not out[-1].startswith(("   * -", "     -")):
                out += ["", ".. list-table::", "   :header-rows: 1", ""]
            out += [f"   * - {cells[0]}", *(f"     - {cell}" for cell in cells[1:])]
            continue
        if out and out[-1].startswith("     -"):
            out.append("")
        code = line.split("`")  # odd parts are code
        code[::2] = [part.replace("|", "\\|").replace("*", "\\*") for part in code[::2]]
        out.append("`".join(code))
    lines[:] = out


def _is_field(app: object, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Leave out members that are fields, which the docstring of their class describes."""
    default = isinstance(obj, FunctionType) and what == "class" and "." not in obj.__qualname__
    return True if default or type(obj).__name__ == "_tuplegetter" else None


def _plain_help(app: object, context: object, lines: list[str]) -> None:
    """Make the help of a command valid reStructuredText: marked lines are code, defaults stand behind the sentence."""
    out: list[str] = []
    for line in lines:
        field = re.match(r"\s+:(default|options): (.*)", line)
        if line.startswith("| ") and line.endswith(":"):
            out += [line[2:], "", ".. code-block:: text", ""]
        elif line.startswith("| "):
            out.append("   " + line[2:].strip())
        elif field:
            while not out[-1].strip():
                out.pop()
            value = re.sub(r"``'?(?:\w+Path\()?'?(.*?)'?\)?``", r"\1", field[2])
            out[-1] += f" [default: {value}]" if field[1] == "default" else f" One of: {value.replace(' | ', ', ')}."
        elif line.startswith(".."):
            out.append(line)
        else:
            text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line).replace("**Required** ", "**Required.** ")
            out.append(re.sub(r"(?<![`\w-])(--[a-z][\w-]*)(?!`)", r"``\1``", text))
    lines[:] = out


def setup(app: object) -> None:
    """Register what this project adds to Sphinx."""
    app.connect("autodoc-skip-member", _is_field)  # type: ignore[attr-defined]
    app.connect("autodoc-process-docstring", _plain_docstring, priority=900)  # type: ignore[attr-defined]
    for part in ("description", "options", "epilog"):
        app.connect(f"sphinx-click-process-{part}", _plain_help)  # type: ignore[attr-defined]
