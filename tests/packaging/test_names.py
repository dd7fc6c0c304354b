"""One name for one concept: classes that share a name, and files that do, are found."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = [path for folder in ("latentmd", "integrators", "systems") for path in sorted((ROOT / folder).rglob("*.py"))]

# How often a file name may occur: a folder's own settings, page or steps are called so in each of them.
MOST_FILES = {
    "run.py": 6,
    "page.py": 4,
    "paths.py": 3,
}
USUAL = 2


def test_a_class_name_stands_for_one_class() -> None:
    count = Counter(
        node.name for path in FILES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)
    )
    shared = {name for name, times in count.items() if times > 1}
    assert not shared, f"two classes of one name; say what sets them apart: {shared}"


def test_a_file_name_stands_for_one_concept() -> None:
    count = Counter(path.name for path in FILES if path.name != "__init__.py")
    many = {name: times for name, times in count.items() if times > MOST_FILES.get(name, USUAL)}
    assert not many, f"file names used too often; name the concept: {many}"
