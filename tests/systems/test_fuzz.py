"""Two hundred damaged files: each gives a sound molecule or one sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mutate import CASES, fault, mutated


@pytest.mark.parametrize("part", range(4))
def test_damaged_files_give_a_sound_molecule_or_one_sentence(part: int, tmp_path: Path) -> None:
    for number in range(part * 50, part * 50 + 50):
        rng = np.random.default_rng([13, number])
        source = CASES[int(rng.integers(len(CASES)))]
        path = tmp_path / f"{number}{source.suffix}"
        path.write_bytes(mutated(source.read_bytes(), rng))
        wrong, _ = fault(path)
        assert not wrong, f"mutation {number} of {source.name}: {wrong}"
