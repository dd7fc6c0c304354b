"""What users call says what its arguments mean, and every function without an underscore what it does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import latentmd
from latentmd.cli.main import main

ROOT = Path(__file__).parents[2]
PATHS = sorted(path for folder in ("latentmd", "integrators", "systems") for path in (ROOT / folder).rglob("*.py"))
FEWEST = 3  # parameters from which on all must be documented


def _named(dotted: str) -> Any:
    """The object of a dotted name, such as `latentmd.sampling.paths.run.paths`."""
    owner, _, name = dotted.rpartition(".")
    found = latentmd if owner == "latentmd" else import_module(owner) if owner.islower() else _named(owner)
    return getattr(found, name)


def _offered() -> set[str]:
    """`file::name` of what the page on Python lists, the flat API and the checks for parts of one's own."""
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    names = re.findall(r"auto(?:function|class) *:: (\S+)", page.replace("::", " ::"))
    names += [f"latentmd.{name}" for name in latentmd.__all__]
    checks = [name for name in dir(import_module("latentmd.testing")) if name.startswith("check_")]
    names += [f"latentmd.testing.{name}" for name in checks]
    return {f"{_file(it.__module__)}::{it.__qualname__}" for it in map(_named, names)}


def _file(module: str) -> str:
    """File of a module in the checkout, wherever the package is imported from."""
    inside = module.removeprefix("latentmd.").replace(".", "/")
    return f"{inside}.py" if inside.startswith(("integrators/", "systems/")) else f"latentmd/{inside}.py"


OFFERED = _offered()


def _is_offered(path: Path, node: ast.FunctionDef, owner: str) -> bool:
    return f"{path.relative_to(ROOT)}::{owner or node.name}" in OFFERED


def _public(body: list[ast.stmt], owner: ast.ClassDef | None = None) -> Iterator[tuple[ast.FunctionDef, str, str]]:
    """Functions, methods and constructors without an underscore: node, the docstring that documents it, its class."""
    name = owner.name if owner else ""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public(node.body, node)
        elif isinstance(node, ast.FunctionDef):
            if owner and node.name == "__init__":
                yield node, f"{ast.get_docstring(owner) or ''}\n\n{ast.get_docstring(node) or ''}", name
            elif not node.name.startswith("_"):
                yield node, ast.get_docstring(node) or "", name


def _parameters(node: ast.FunctionDef) -> list[str]:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [argument.arg for argument in every if argument.arg not in ("self", "cls")]


def _is_command(node: ast.FunctionDef) -> bool:
    """Whether click makes a command of it, whose options document themselves."""
    return any(re.match(r"(click|\w+_command)\.command", ast.unparse(d)) for d in node.decorator_list)


def _delegates(node: ast.FunctionDef) -> bool:
    """Whether it only calls another method with its own arguments, as the `forward` of a predictor calls `step`."""
    return len(node.body) == 1 and ast.unparse(node.body[0]) == f"return self.step({', '.join(_parameters(node))})"


def _undocumented(node: ast.FunctionDef, doc: str) -> list[str]:
    section = re.search(r"^(?:Args|Attributes):\n((?:[ ]+.*\n?)*)", doc, re.M)
    heads = re.findall(r"^ {4}(\w[\w, ]*):", section[1], re.M) if section else []
    documented = {name for head in heads for name in head.split(", ")}
    return [name for name in _parameters(node) if name not in documented]


def test_what_users_call_documents_its_parameters() -> None:
    missing = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {', '.join(names)}"
        for path in PATHS
        for node, doc, owner in _public(ast.parse(path.read_text()).body)
        if _is_offered(path, node, owner)
        if len(_parameters(node)) >= FEWEST and not _is_command(node) and not _delegates(node)
        if (names := _undocumented(node, doc))
    ]
    assert not missing, "expected a line under Args for each of:\n" + "\n".join(missing)


def test_public_functions_and_methods_have_docstrings() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in PATHS
        for node, doc, _ in _public(ast.parse(path.read_text()).body)
        if not doc.strip()
        and not _delegates(node)
        and not any("overload" in ast.unparse(d) for d in node.decorator_list)
        if not (node.name == "__init__" and not _parameters(node))
    ]
    assert not silent, "no docstring on:\n" + "\n".join(silent)


def test_options_have_help() -> None:
    context = click.Context(main)
    silent = [
        f"{name} {option.opts[0]}"
        for name in main.list_commands(context)
        if (command := main.get_command(context, name))
        for option in command.params
        if isinstance(option, click.Option) and not option.help and not option.hidden
    ]
    assert not silent
