"""The small JEPA surrogate of the toys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.worlds.explorer import LatentExplorer, load_explorer, trained
from latentmd.worlds.landscapes import ToyEngine, double_well


@pytest.fixture(scope="module")
def paths() -> list[np.ndarray]:
    engine = ToyEngine(double_well(), 5)
    return [engine.burst(np.array([x]), 300, i).positions for i, x in enumerate((-1.0, 1.0))]


def test_training_makes_it_predict_and_an_untrained_one_does_not(paths: list[np.ndarray]) -> None:
    learned, random = trained(paths, 5, 0), LatentExplorer(1, 5, 0)
    assert learned.error(paths) < 0.3
    assert random.error(paths) > 3 * learned.error(paths)
    proposals = learned.propose(np.array([[-1.0], [1.0]]), 200, np.random.default_rng(0))
    assert proposals.shape == (200, 1)
    assert np.mean(np.abs(proposals) < 1.6) > 0.9
    assert min(np.mean(proposals < -0.5), np.mean(proposals > 0.5)) > 0.1, "both wells are proposed"


def test_equal_arguments_give_equal_explorers_and_files_keep_them(paths: list[np.ndarray], tmp_path: Path) -> None:
    one, two = (trained(paths, 5, 3) for _ in range(2))
    one.save(tmp_path)
    kept = load_explorer(tmp_path)
    x, start = paths[0][:10], paths[0][:4]
    for other in (two, kept):
        np.testing.assert_array_equal(one.features(x), other.features(x))
        draws = [e.propose(start, 8, np.random.default_rng(1)) for e in (one, other)]
        np.testing.assert_array_equal(*draws)


def test_a_fixed_explorer_never_learns(paths: list[np.ndarray]) -> None:
    fixed = LatentExplorer(1, 5, 0, fixed=True)
    assert fixed.refine(paths, 1) is fixed
    assert fixed.disagreement(paths[0]) is None
