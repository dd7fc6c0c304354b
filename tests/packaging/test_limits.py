"""Limits of size: lines of a function and of a file, positional arguments of a call; tests and examples count too."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("latentmd", "integrators", "systems", "tests", "examples")
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
}
MOST_LINES = 70  # of a function, signature and docstring included
MOST_FILE_LINES = 400
MOST_POSITIONAL = 5
# Mathematics, whose arguments stand as in the formula, and calls of a compiled kernel or of TorchScript.
NUMERICS = (
    "latentmd/core/",
    "latentmd/encoders/",
    "latentmd/decoders/",
    "latentmd/heads/",
    "latentmd/replicas/",
    "integrators/torchforce_module.py",
)


def test_functions_fit_on_a_screen() -> None:
    long = [
        f"{name}: {node.name} has {lines} lines"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > MOST_LINES
    ]
    assert not long, f"expected at most {MOST_LINES} lines:\n" + "\n".join(long)


def test_files_are_short() -> None:
    counts = {name: len((ROOT / name).read_text().splitlines()) for name in TREES}
    long = {name: count for name, count in counts.items() if count > MOST_FILE_LINES}
    assert not long, f"expected at most {MOST_FILE_LINES} lines, found {long}"


def test_calls_name_their_arguments() -> None:
    long = [
        f"{name}:{node.lineno}: {ast.unparse(node.func)} with {len(node.args)}"
        for name, tree in TREES.items()
        if not name.startswith(NUMERICS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and len(node.args) > MOST_POSITIONAL
    ]
    assert not long, f"expected at most {MOST_POSITIONAL} positional arguments:\n" + "\n".join(long)
