"""Configuration of the documentation site (Sphinx with MyST notebooks).

Build it with `sphinx-build -W -b html docs docs/_build/html`; warnings are errors. Tutorials are executed, and their
results are kept in `docs/_build/.jupyter_cache`, so that a second build runs only what changed.
"""

from __future__ import annotations

from importlib.metadata import version as installed

project = "latentmd"
author = "latentmd authors"
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
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
html_theme = "furo"
html_title = "latentmd"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "smartquotes"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst.xref_missing",  # links to files of the repository outside docs/, which tests/docs checks
]

nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_mock_imports = ["openmmml", "openmmtorch", "transformers", "umap", "cupy"]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
