"""The README's code runs, its commands parse, its links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_lines import parse

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LONGEST = 110  # lines of the README
WIDEST = 100  # columns of code on a page of the site
TWO_LINES = (
    "pip install . && latentmd simulate systems/molecules/alanine_dipeptide.pdb",
    "pip install '.[test]' && pytest",
)


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_two_lines_are_what_ci_runs() -> None:
    commands = (ROOT / ".ci" / "run").read_text()
    for line in TWO_LINES:
        assert line in "".join(_blocks("bash"))
        assert line in commands


@pytest.mark.slow
@pytest.mark.parametrize("code", _blocks("python"), ids=["openmm", "ase"])
def test_python_blocks_run(code: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "systems" / "molecules", tmp_path / "systems" / "molecules")
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-2000:]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= LONGEST


PAGES = ["README.md", "CONTRIBUTING.md", *(str(page.relative_to(ROOT)) for page in sorted(ROOT.glob("docs/**/*.md")))]


def _commands() -> list[tuple[str, str]]:
    """Every line that a page tells to type, with the page: in blocks of code, and in README's table."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        fenced = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        blocks = [code for language, code in fenced if language in ("", "bash", "text")]
        lines = [part.strip() for block in blocks for line in block.replace("\\\n", "").splitlines()
                 for part in re.split("&&|;", line)]  # fmt: skip
        typed = re.findall(r"^\|[^|]*\| `([^`]*)` \|", text, re.MULTILINE) if page == "README.md" else []
        found += [(page, line) for line in [*lines, *typed] if line.startswith("latentmd ")]
    return found


@pytest.mark.parametrize(("page", "line"), _commands())
def test_commands_parse(page: str, line: str) -> None:
    parse(line)


@pytest.mark.parametrize("path", [page for page in PAGES if "_build" not in page])
def test_links_exist(path: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / path).read_text()):
        if not target.startswith(("http", "mailto")):
            assert ((ROOT / path).parent / target).exists(), f"{path} links to {target}"


@pytest.mark.parametrize("path", PAGES)
def test_lines_of_code_fit_on_the_page(path: str) -> None:
    code = re.findall(r"^```[^\n]*\n(.*?)^```$", (ROOT / path).read_text(), re.DOTALL | re.MULTILINE)
    long = [line for block in code for line in block.splitlines() if len(line) > WIDEST]
    assert not long, f"more than {WIDEST} columns in {path}: {long}"


def test_every_example_is_listed() -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    for script in sorted((ROOT / "examples").glob("*.py")):
        assert f"examples/{script.name}" in page, f"docs/examples.md does not list {script.name}"
    for folder in sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir() and any(path.glob("*.py"))):
        assert f"| `{folder.name}` |" in page, f"docs/examples.md does not list examples/{folder.name}"


def test_every_page_is_in_the_site() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    listed = {name for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for name in block.split()}
    pages = {page.removeprefix("docs/").removesuffix(".md") for page in PAGES if page.startswith("docs/")}
    assert {page for page in pages if not page.startswith("_build")} - {"index"} <= listed
