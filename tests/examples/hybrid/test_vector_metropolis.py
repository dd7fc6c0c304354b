"""The metropolised mode against distributions known in closed form."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest, norm

from latentmd.worlds.landscapes import double_well, muller_brown

PATH = Path(__file__).parents[3] / "examples" / "hybrid" / "vector_metropolis.py"
SPEC = importlib.util.spec_from_file_location("vector_metropolis", PATH)
assert SPEC is not None and SPEC.loader is not None
vector_metropolis = importlib.util.module_from_spec(SPEC)
sys.modules["vector_metropolis"] = vector_metropolis
SPEC.loader.exec_module(vector_metropolis)
LangevinMove, MixtureMove = vector_metropolis.LangevinMove, vector_metropolis.MixtureMove
fit_mixture, independent_rows = vector_metropolis.fit_mixture, vector_metropolis.independent_rows
metropolise = vector_metropolis.metropolise


def _line_cdf() -> tuple[np.ndarray, np.ndarray]:
    mesh, weights = double_well().grid(2000)
    return mesh[:, 0], np.cumsum(weights)


def test_a_bad_proposal_costs_time_and_no_accuracy() -> None:
    """A mixture that puts the weights of both wells the wrong way round, on the double well at 1e5 steps."""
    well = double_well()
    move = MixtureMove(np.array([0.3, 0.7]), np.array([[-1.0], [1.0]]), np.array([[[0.3]], [[0.25]]]))
    chains = metropolise(
        lambda x: -well.energies(x), [move], np.array([[-1.0], [1.0]] * 10), 5_000, np.random.default_rng(0)
    )
    rows = independent_rows(chains)
    x, cdf = _line_cdf()
    assert len(rows) > 1000
    assert kstest(rows[:, 0], lambda value: np.interp(value, x, cdf)).pvalue > 0.01
    assert kstest(move.draw(2000, np.random.default_rng(1))[:, 0], lambda v: np.interp(v, x, cdf)).pvalue < 1e-6


def test_fitted_mixture_and_langevin_moves_on_muller_brown() -> None:
    """Both marginals, from samples of one basin only: the broad components find the other."""
    well, rng = muller_brown(), np.random.default_rng(0)
    mesh, weights = well.grid(200)
    upper = well.states["upper"](mesh)
    seen = mesh[rng.choice(len(mesh), 400, p=np.where(upper, weights, 0) / weights[upper].sum())]
    move = fit_mixture(seen, 2, rng, broad=0.5, widen=6.0)
    start = seen[:40]
    chains = metropolise(lambda x: -well.energies(x), [move], start, 1500, rng)
    rows = independent_rows(chains)
    for axis in range(2):
        values, order = np.unique(mesh[:, axis], return_inverse=True)
        cdf = np.cumsum(np.bincount(order.ravel(), weights=weights))
        step = values[1] - values[0]
        result = kstest(rows[:, axis], lambda v, a=values, c=cdf, h=step: np.interp(v, a + h / 2, c))
        assert result.pvalue > 0.01


def test_langevin_move_samples_a_gaussian() -> None:
    move = LangevinMove(lambda x: -x, 0.3)
    chains = metropolise(
        lambda x: -0.5 * np.sum(x * x, axis=1), [move], np.zeros((50, 2)), 2000, np.random.default_rng(0)
    )
    assert kstest(independent_rows(chains)[:, 0], norm.cdf).pvalue > 0.01
    assert 0.5 < chains.acceptance[0] < 1


def test_corrections_are_the_ratio_of_proposal_densities() -> None:
    rng = np.random.default_rng(0)
    mixture = MixtureMove(np.array([1.0]), np.array([[0.5, -1.0]]), np.array([[[2.0, 0.0], [0.3, 1.0]]]))
    covariance = mixture.factors[0] @ mixture.factors[0].T
    x = rng.standard_normal((5, 2))
    white = x - mixture.means[0]
    expected = -0.5 * np.einsum("ni,ij,nj->n", white, np.linalg.inv(covariance), white)
    expected -= 0.5 * np.log(np.linalg.det(2 * np.pi * covariance))
    np.testing.assert_allclose(mixture.log_density(x), expected)
    new, correction = mixture.propose(x, rng)
    np.testing.assert_allclose(correction, mixture.log_density(x) - mixture.log_density(new))
    local = LangevinMove(lambda x: -x, 0.1)
    new, correction = local.propose(x, rng)
    forward = norm.logpdf(new, 0.9 * x, np.sqrt(0.2)).sum(axis=1)
    backward = norm.logpdf(x, 0.9 * new, np.sqrt(0.2)).sum(axis=1)
    np.testing.assert_allclose(correction, backward - forward)


def test_proposals_without_a_density_are_never_taken() -> None:
    move = MixtureMove(np.array([1.0]), np.array([[0.0]]), np.array([[[1.0]]]))
    chains = metropolise(
        lambda x: np.where(x[:, 0] > 0, 0.0, np.nan), [move], np.full((5, 1), 0.5), 200, np.random.default_rng(0)
    )
    assert (chains.positions > 0).all()


def test_bad_input_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="starts where the density is zero"):
        metropolise(lambda x: np.full(len(x), -np.inf), [], np.zeros((1, 1)), 1, rng)
    with pytest.raises(ValueError, match="at least 3 rows"):
        fit_mixture(np.zeros((2, 2)), 3, rng)


def test_thinning_sees_long_stays_in_a_basin_that_no_coordinate_shows() -> None:
    """x is white noise but for a basin, |y| > 2, that is entered rarely and left slowly; y's sign is white too."""
    rng, stay = np.random.default_rng(0), 0.99
    inside = np.cumsum(rng.random((4000, 8)) > stay, axis=0) % 2
    y = np.where(inside, 3.0, 1.0) * rng.choice([-1.0, 1.0], (4000, 8))
    chains = vector_metropolis.Chains(np.stack([rng.standard_normal((4000, 8)), y], axis=2), (1.0,))
    blind = independent_rows(chains)
    rows = independent_rows(chains, [lambda x: np.abs(x[:, 1]) > 2])
    assert len(rows) == pytest.approx(32000 * (1 - 0.98) / (1 + 0.98) / 2, rel=0.3) and len(blind) > 3 * len(rows)
