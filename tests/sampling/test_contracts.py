"""What every engine and every surrogate of hybrid sampling must do, checked on those there are."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.sampling.contracts import Burst, Engine, Explorer
from latentmd.sampling.engine import MoleculeEngine
from latentmd.sampling.hybrid.explorer import PlainAdaptive
from latentmd.worlds.explorer import LatentExplorer
from latentmd.worlds.landscapes import ToyEngine, double_well


@pytest.fixture(params=["toy", "molecule"])
def engine(request: pytest.FixtureRequest, alanine: Any) -> tuple[Engine, np.ndarray]:
    """An engine and a structure to start from."""
    if request.param == "toy":
        return ToyEngine(double_well(), 5), np.array([-1.0])
    x = np.asarray(alanine.positions._value)
    return MoleculeEngine.of(alanine, x, 0.02, "Reference"), x


def test_arguments_alone_decide_a_burst(engine: tuple[Engine, np.ndarray]) -> None:
    made, start = engine
    copy = pickle.loads(pickle.dumps(made))
    made.burst(start, 2, 9)
    one, other = made.burst(start, 4, 3), copy.burst(start, 4, 3)
    np.testing.assert_array_equal(one.positions, other.positions)
    np.testing.assert_array_equal(one.energies, other.energies)
    assert not np.array_equal(made.burst(start, 4, 4).positions, one.positions)


def test_shapes(engine: tuple[Engine, np.ndarray]) -> None:
    made, start = engine
    burst = made.burst(start, 4, 3)
    assert isinstance(burst, Burst) and burst.positions.shape == (4, *start.shape) and burst.energies.shape == (4,)
    features = made.features(burst.positions)
    assert features.ndim == 2 and len(features) == 4 and np.isfinite(features).all()
    checks = made.checks(burst.positions)
    assert all(passed.shape == (4,) and passed.all() for passed in checks.values())
    relaxed = made.relax(start, 3)
    assert relaxed.positions.shape == start.shape and np.isfinite(relaxed.energy)
    assert made.interval > 0


@pytest.mark.parametrize("explorer", [LatentExplorer(1, 5, 0), PlainAdaptive()], ids=["latent", "none"])
def test_surrogates(explorer: Explorer, tmp_path: Path) -> None:
    positions = np.linspace(-1, 1, 6)[:, None]
    features = explorer.features(positions)
    assert features.ndim == 2 and len(features) == 6
    first, again = (explorer.propose(positions, 5, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape[1:] == positions.shape[1:] and len(first) in (0, 5)
    assert explorer.disagreement(features) is None
    explorer.save(tmp_path)
