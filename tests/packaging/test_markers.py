"""`pytest -m fast`: what is left out of it exists, so that the list does not outlive what it names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONG = (ROOT / "tests" / "long.txt").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("entry", LONG)
def test_what_takes_long_exists(entry: str) -> None:
    file, _, function = entry.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert not function or function in names, f"take {entry} off tests/long.txt: there is no such test any more"


def test_markers_are_given(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("fast") is not None
