"""A bundle as the surrogate of hybrid sampling; and sampling without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.model.file import BundleError
from latentmd.sampling.hybrid.explorer import PlainAdaptive, SurrogateExplorer
from latentmd.sampling.hybrid.store import MODEL
from latentmd.sampling.hybrid.training import Recipe
from latentmd.systems.builder import Protocol

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.fixture(scope="module")
def explorer(ou_bundle: Path) -> SurrogateExplorer:
    return SurrogateExplorer(ou_bundle, Recipe(ALANINE, Protocol(), 1.0, 20))


@pytest.fixture(scope="module")
def starts(explorer: SurrogateExplorer) -> Any:
    """Twelve structures of the surrogate's own process."""
    frame = explorer.propagator.manifest.molecule()[1][None]
    return explorer.rollout(frame, 12, np.random.default_rng(0))


def test_proposals_are_seeded_structures_of_the_molecule(explorer: SurrogateExplorer, starts: Any) -> None:
    first, again, other = (explorer.propose(starts, 9, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (9, 22, 3) and np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    np.testing.assert_allclose(
        np.linalg.norm(first[:, 0] - first[:, 4], axis=-1), np.linalg.norm(starts[0, 0] - starts[0, 4]), rtol=1e-3
    )


def test_proposals_go_beyond_equilibrium(explorer: SurrogateExplorer, starts: Any) -> None:
    """Noise of rollouts is wider than the model's, whose torsions have a deviation of 0.5 rad."""
    rng = np.random.default_rng(3)
    wide = explorer.features(explorer._ends(starts, 600, rng)).std(axis=0)
    own = explorer.features(explorer.rollout(starts, 600, rng)).std(axis=0)
    np.testing.assert_allclose(own, 0.5, rtol=0.15)
    assert (wide > 1.1 * own).all()


def test_points_between_lie_between(explorer: SurrogateExplorer, starts: Any) -> None:
    pair = starts[:2]
    ends = explorer.features(pair)
    middle = explorer.features(explorer._between(pair, 40, np.random.default_rng(0)))
    low, high = ends.min(axis=0) - 1e-3, ends.max(axis=0) + 1e-3
    assert ((middle >= low) & (middle <= high)).all()


def test_the_error_of_its_own_process_is_small(explorer: SurrogateExplorer) -> None:
    frame = explorer.propagator.manifest.molecule()[1][None].repeat(2, axis=0)
    slow = explorer.propagator.encode(frame)
    rng = np.random.default_rng(1)
    path = explorer.propagator.rollout(slow, 5.0, 60, rng)
    paths = np.stack([explorer.propagator.decode(z, rng) for z in path], axis=1)
    own = SurrogateExplorer(explorer.bundle, Recipe(ALANINE, Protocol(), 5.0, 60))
    assert own.error(list(paths)) < 0.5
    assert explorer.error([]) == float("inf")


def test_saving_and_too_little_to_learn_from(explorer: SurrogateExplorer, starts: Any, tmp_path: Path) -> None:
    explorer.save(tmp_path)
    assert (tmp_path / MODEL).read_bytes() == explorer.bundle.read_bytes()
    assert explorer.refine([starts[:2]], seed=0) is explorer
    assert explorer.disagreement(np.zeros((3, 2))) is None


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"x")
    with pytest.raises(BundleError):
        SurrogateExplorer(tmp_path / "x.pt", Recipe(ALANINE, Protocol(), 1.0, 20))


def test_without_a_surrogate_nothing_is_proposed(starts: Any) -> None:
    plain = PlainAdaptive()
    assert plain.features(starts).shape == (12, 0)
    assert plain.propose(starts, 5, np.random.default_rng(0)).shape == (0, 22, 3)
    assert plain.disagreement(plain.features(starts)) is None
