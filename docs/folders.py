"""Folder table of the architecture page, made from the docstrings of the packages.

    python docs/folders.py          write it into docs/architecture.md
    python docs/folders.py check    exit with 1 where it is out of date

Floors are those that `tests/packaging/test_packages.py` checks every import against.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- made by `python docs/folders.py` -->\n", "<!-- end -->\n"
#: Folders of the repository that setuptools maps into the package.
MAPPED = {"integrators": ROOT / "integrators", "systems": ROOT / "systems"}


def floors() -> list[set[str]]:
    """Return the rooms of each floor, ground first."""
    tree = ast.parse((ROOT / "tests" / "packaging" / "test_packages.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS":
            found: list[set[str]] = ast.literal_eval(node.value)
            return found
    raise RuntimeError("tests/packaging/test_packages.py has no FLOORS")


def home(room: str) -> Path:
    """Return the folder or file of a room such as "core" or "sampling.levels"."""
    first, *rest = room.split(".")
    folder = MAPPED.get(first, ROOT / "latentmd" / first).joinpath(*rest)
    return folder if folder.is_dir() else folder.with_suffix(".py")


def summary(path: Path) -> str:
    """Return the first paragraph of a package's or module's docstring in one line."""
    text = ast.get_docstring(ast.parse((path / "__init__.py" if path.is_dir() else path).read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def packages(folder: Path) -> list[Path]:
    """Return the packages inside a package, sorted."""
    return sorted(path.parent for path in folder.glob("*/__init__.py"))


def row(floor: str, path: Path) -> str:
    """Return the table's row of a folder or file."""
    name = path.relative_to(ROOT).as_posix() + ("/" if path.is_dir() else "")
    return f"| {floor} | `{name}` | {summary(path)} |"


def table() -> str:
    """Return the table in Markdown: floor, folder, what it holds."""
    rows = ["| floor | folder | holds |", "|---|---|---|"]
    rooms = {room for floor in floors() for room in floor}
    for number, floor in enumerate(floors()):
        for room in sorted(floor):
            path = home(room)
            rows.append(row(str(number), path))
            if path.is_dir():
                inside = [p for p in packages(path) if f"{room}.{p.name}" not in rooms]
                rows += [row(str(number), package) for package in inside]
    return "\n".join(rows) + "\n"


def page(text: str) -> str:
    """Return the architecture page with its table as it should be."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    now = PAGE.read_text()
    wanted = page(now)
    if sys.argv[1:] == ["check"]:
        if now != wanted:
            sys.exit("the folder table of docs/architecture.md is out of date; run python docs/folders.py")
    else:
        PAGE.write_text(wanted)
