"""Examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _with_examples() -> list[str]:
    homes = {"latentmd": "latentmd", "integrators": "latentmd.integrators", "systems": "latentmd.systems"}
    found = []
    for folder, package in homes.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            if ">>> " in path.read_text() and path.name != "openmmml_plugin.py":
                parts = [part for part in path.relative_to(ROOT / folder).with_suffix("").parts if part != "__init__"]
                found.append(".".join([package, *parts]))
    return found


@pytest.mark.parametrize("name", _with_examples())
def test_doctest(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
