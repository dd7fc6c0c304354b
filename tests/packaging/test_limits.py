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


SOURCE = {name: tree for name, tree in TREES.items() if name.startswith(("latentmd/", "integrators/", "systems/"))}
MOST_PARAMETERS = 8
# What users call or type: as many parameters as there are settings.
ENTRY_POINTS = {
    "integrators/ase_dynamics.py:__init__",
    "integrators/openmm_integrator.py:__init__",
    "latentmd/sampling/walkers/md.py:md",
    "latentmd/sampling/sample.py:simulate",
    "latentmd/training/paths.py:train_paths",
    "latentmd/training/peptides/finetune.py:finetune",
    "latentmd/training/train.py:train",
}
# What is left to be mended; nothing may be added.
TOO_MANY: set[str] = set()
# Arguments that are tuples of several types, where a small class would name what is in them; nothing may be added.
MIXED: set[str] = set()


def _functions() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (f"{name}:{node.name}", node)
        for name, tree in SOURCE.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [argument for argument in every if argument.arg not in ("self", "cls")]


def test_functions_take_few_parameters() -> None:
    many = {name for name, node in _functions() if len(_parameters(node)) > MOST_PARAMETERS}
    new = many - ENTRY_POINTS - TOO_MANY
    assert not new, f"expected at most {MOST_PARAMETERS} parameters; put settings into a dataclass:\n" + "\n".join(new)
    mended = (ENTRY_POINTS | TOO_MANY) - many
    assert not mended, f"take these off the lists, they are mended: {mended}"


def _is_mixed(annotation: ast.expr) -> bool:
    """Whether a tuple of different types is in an annotation; those inside of lists are rows of a table."""
    return (
        isinstance(annotation, ast.Subscript)
        and isinstance(annotation.value, ast.Name)
        and annotation.value.id == "tuple"
        and isinstance(annotation.slice, ast.Tuple)
        and len({ast.unparse(part) for part in annotation.slice.elts} - {"..."}) > 1
    )


def test_arguments_do_not_travel_in_tuples() -> None:
    found = {name for name, node in _functions() for a in _parameters(node) if a.annotation and _is_mixed(a.annotation)}
    assert not found - MIXED, f"a tuple of several types as an argument; name its parts: {sorted(found - MIXED)}"
    assert not MIXED - found, f"take these off the list, they are mended: {sorted(MIXED - found)}"
