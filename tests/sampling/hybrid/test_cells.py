"""Cells over latent and physical coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.sampling.hybrid.cells import fit_cells


def _two_basins(rng: np.random.Generator) -> list[np.ndarray]:
    """Bursts about -1 or +1, never across."""
    return [side + 0.1 * rng.standard_normal((60, 1)) for side in (-1.0, 1.0) for _ in range(10)]


@pytest.mark.parametrize("latent", ["constant", "noise", "huge noise", "not finite", "copy"])
def test_a_useless_latent_does_not_merge_basins(latent: str) -> None:
    rng = np.random.default_rng(0)
    physical = _two_basins(rng)
    made = {
        "constant": lambda n: np.zeros((n, 3)),
        "noise": lambda n: rng.standard_normal((n, 3)),
        "huge noise": lambda n: 1e6 * rng.standard_normal((n, 3)),
        "not finite": lambda n: np.full((n, 3), np.nan),
        "copy": lambda n: np.empty((n, 0)),
    }[latent]
    features = [np.hstack([made(len(p)), *([p, 2 * p, -p] if latent == "copy" else []), p]) for p in physical]
    cells = fit_cells(features, 3, 12, slow_lag=5, lag=5, rng=rng)
    sides = np.concatenate(physical)[:, 0] > 0
    labels = cells.assign(np.concatenate(features))
    shared = [cell for cell in range(len(cells)) if 0 < sides[labels == cell].mean() < 1]
    assert not shared


def _walk(rng: np.random.Generator, start: float, frames: int) -> np.ndarray:
    """Overdamped motion over a barrier of 8 kT at zero, frames 0.01 apart."""
    x, path = start, []
    for _ in range(frames):
        for _ in range(5):
            x += -0.002 * 32 * x * (x * x - 1) + np.sqrt(0.004) * rng.standard_normal()
        path.append(x)
    return np.array(path)[:, None]


def test_cells_are_thin_where_the_free_energy_is_steep() -> None:
    """Frames are spread evenly, so that only the free energy can ask for thinner cells on the sides of the barrier."""
    rng = np.random.default_rng(1)
    walks = [_walk(rng, start, 20) for start in np.linspace(-1.3, 1.3, 400)]
    cells = fit_cells(walks, 0, 30, slow_lag=10, lag=5, rng=rng)
    x = np.linspace(-1.2, 1.2, 2000)
    labels = cells.assign(x[:, None])
    energy = 8 * (x**2 - 1) ** 2
    climb = max(np.ptp(energy[labels == c]) for c in np.unique(labels[np.abs(x) < 1]))
    assert climb < 8 / 4, "kT within a cell"
    height = cells.coordinates(x[:, None])[:, -1]
    assert height[1000] < min(height[160], height[1840]), "the barrier is sampled more than equilibrium would"


def test_the_coarser_partition_has_half_the_cells() -> None:
    rng = np.random.default_rng(3)
    slow = [np.repeat(rng.choice([-1.0, 1.0], 4), 30) + 0.05 * rng.standard_normal(120) for _ in range(30)]
    features = [np.column_stack([s, rng.standard_normal(120)]) for s in slow]
    cells = fit_cells(features, 0, 20, slow_lag=5, lag=5, rng=rng)
    coarse = cells.coarser()
    everything = np.concatenate(features)
    assert len(coarse) == 10
    np.testing.assert_array_equal(coarse.coordinates(everything), cells.coordinates(everything))
    left = coarse.assign(everything[everything[:, 0] < -0.5])
    right = coarse.assign(everything[everything[:, 0] > 0.5])
    assert not set(left) & set(right)


def test_a_bent_slow_coordinate_does_not_put_an_edge_on_the_barrier() -> None:
    """A feature that is equal far out and on the barrier must not be all that is left of a line."""
    rng = np.random.default_rng(4)
    walks = [_walk(rng, start, 24) for start in np.tile([-1.3, -1.0, -0.5, 0.0, 0.5, 1.0, 1.3], 20)]
    features = [np.hstack([np.sin(2.2 * w), np.tanh(3 * w), w]) for w in walks]
    cells = fit_cells(features, 0, 30, slow_lag=12, lag=5, rng=rng)
    x, labels = np.concatenate(walks)[:, 0], cells.assign(np.concatenate(features))
    assert max(np.ptp(x[labels == c]) for c in np.unique(labels)) < 0.6


def test_coordinates_do_not_depend_on_a_linear_change_of_the_features() -> None:
    rng = np.random.default_rng(2)
    walks = [np.cumsum(rng.standard_normal((100, 2)), axis=0) for _ in range(8)]
    mixed = [w @ np.array([[3.0, 1.0], [-0.5, 0.2]]) + 7 for w in walks]
    one, two = (fit_cells(f, 0, 8, slow_lag=5, lag=5, rng=np.random.default_rng(0)) for f in (walks, mixed))
    a, b = one.coordinates(np.concatenate(walks)), two.coordinates(np.concatenate(mixed))
    np.testing.assert_allclose(np.abs(a), np.abs(b), rtol=1e-5, atol=1e-6)


def test_fewer_cells_while_data_are_few_and_equal_seeds_give_equal_cells() -> None:
    walks = [np.random.default_rng(s).standard_normal((20, 2)) for s in range(5)]
    one, two = (fit_cells(walks, 0, 50, slow_lag=2, lag=2, rng=np.random.default_rng(3)) for _ in range(2))
    assert len(one) == 5
    np.testing.assert_array_equal(one.centres, two.centres)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="all features of the bursts are constant"):
        fit_cells([np.ones((30, 2))], 0, 5, slow_lag=2, lag=2, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="no burst is longer than the lag of 40 frames"):
        fit_cells(
            [np.random.default_rng(0).standard_normal((30, 2))], 0, 5, slow_lag=40, lag=2, rng=np.random.default_rng(0)
        )


def test_slow_noise_in_the_latent_leaves_the_physical_coordinates_as_they_are() -> None:
    """Directions of a surrogate that is wrong come after those of the physical features and change none of them."""
    rng = np.random.default_rng(5)
    walks = [np.cumsum(rng.standard_normal((100, 2)), axis=0) for _ in range(8)]
    wrong = [np.cumsum(5 * rng.standard_normal((100, 4)), axis=0) + np.tanh(w[:, :1]) for w in walks]
    alone = fit_cells(walks, 0, 8, slow_lag=5, lag=5, rng=np.random.default_rng(0))
    beside = fit_cells(
        [np.hstack(pair) for pair in zip(wrong, walks, strict=True)],
        4,
        8,
        slow_lag=5,
        lag=5,
        rng=np.random.default_rng(0),
    )
    assert alone.matrix.shape == (2, 2)
    assert beside.matrix.shape[1] > 2
    np.testing.assert_allclose(beside.matrix[4:, :2], alone.matrix, rtol=1e-6)
    assert not beside.matrix[:4, :2].any()
