"""The folder table of the architecture page and the list of the reference are those of the tree."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folders() -> ModuleType:
    """The script, imported."""
    spec = importlib.util.spec_from_file_location("folders", ROOT / "docs" / "folders.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_folder_table_is_up_to_date(folders: ModuleType) -> None:
    text = folders.PAGE.read_text()
    assert text == folders.page(text), "run python docs/folders.py"


def test_every_package_is_in_the_table(folders: ModuleType) -> None:
    table = folders.table()
    for root in ("latentmd", "integrators", "systems"):
        for path in (ROOT / root).rglob("__init__.py"):
            folder = path.parent.relative_to(ROOT).as_posix()
            assert folder == "latentmd" or f"| `{folder}/` |" in table, f"{folder} is on no floor"


def test_every_room_has_a_reference_page(folders: ModuleType) -> None:
    listed = set(re.findall(r"^   latentmd\.(\w+)$", (ROOT / "docs" / "reference" / "api.md").read_text(), re.M))
    rooms = {room.split(".")[0] for floor in folders.floors() for room in floor} - {"__main__"}
    assert listed == rooms


def test_a_table_that_differs_is_replaced(folders: ModuleType) -> None:
    text = f"before\n{folders.BEGIN}| old |\n{folders.END}after\n"
    assert folders.page(text) == f"before\n{folders.BEGIN}{folders.table()}{folders.END}after\n"
