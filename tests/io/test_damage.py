"""Damaged trajectories: read as they are or refused, never a crash and never fewer frames without a word."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "inputs"))
from fuzz_trajectories import mutation


# mdtraj leaves files open where it fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("part", range(4))
def test_damaged_trajectories(part: int, tmp_path: Path) -> None:
    for number in range(part * 50, part * 50 + 50):
        case, result = mutation(number, str(tmp_path))
        assert result in ("refused", "changed", "as it was"), f"mutation {number} of {case}: {result}"
