"""Exact sampling of small systems: Metropolis steps whose proposals have a known density in full coordinates.

A deterministic decoder has NO density in x: it maps a latent of a few numbers to a surface of measure zero, and many
structures share one latent. A ratio of latent densities is therefore not an acceptance probability, and sampling with
it is biased however good the surrogate is. Here the surrogate's structures (and those of bursts) only choose where a
density in x is fitted; the fitted density both draws and judges, and is frozen while sampling:

    accept x' with probability min(1, exp(-(U(x') - U(x)) / kT) q(x | x') / q(x' | x))     (Hastings, Biometrika 1970)

so that the Boltzmann distribution is stationary whatever the density is; a bad one is rejected often, and costs time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from latentmd.arrays import Bools, Floats

LogDensity = Callable[[Floats], Floats]
_TAIL = 0.05  # share of the samples in each tail that is watched


class Move(Protocol):
    """A proposal with a known density in full coordinates."""

    def propose(self, positions: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Proposals (chains, d) from positions (chains, d), and ln q(x | x') - ln q(x' | x), shape (chains,)."""
        ...


@dataclass(frozen=True)
class MixtureMove:
    """Independent proposals from a fixed mixture of Gaussians in full coordinates: jumps between basins.

    Use `fit_mixture`; a share of broad components keeps tails covered, so that no region is left without proposals.

    Attributes:
        weights: shape (components,), summing to 1.
        means: shape (components, d).
        factors: Cholesky factors of the covariances, shape (components, d, d).
    """

    weights: Floats
    means: Floats
    factors: Floats

    def draw(self, count: int, rng: np.random.Generator) -> Floats:
        """Independent draws (count, d)."""
        chosen = rng.choice(len(self.weights), size=count, p=self.weights)
        noise = rng.standard_normal((count, self.means.shape[1]))
        return np.asarray(self.means[chosen] + np.einsum("nij,nj->ni", self.factors[chosen], noise))

    def log_density(self, positions: Floats) -> Floats:
        """Ln of the density (n,) at positions (n, d)."""
        from scipy.linalg import solve_triangular
        from scipy.special import logsumexp

        terms = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True):
            white = solve_triangular(factor, (positions - mean).T, lower=True)
            scale = np.log(np.diag(factor)).sum() + 0.5 * len(mean) * np.log(2 * np.pi)
            terms.append(np.log(weight) - 0.5 * np.sum(white**2, axis=0) - scale)
        return np.asarray(logsumexp(terms, axis=0))

    def propose(self, positions: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Independent of where the chains are."""
        new = self.draw(len(positions), rng)
        return new, self.log_density(positions) - self.log_density(new)


def fit_mixture(
    samples: Floats, components: int, rng: np.random.Generator, broad: float = 0.1, widen: float = 2.0
) -> MixtureMove:
    """Mixture of Gaussians fitted to structures by expectation-maximisation (scikit-learn), with broad copies.

    Args:
        samples: structures of bursts, of the surrogate or both, shape (n, d); their weights need not be right.
        components: Gaussians.
        rng: random generator.
        broad: share of the weight given to copies of all components, `widen` times as wide.
        widen: factor of their standard deviations.

    Raises:
        ValueError: fewer samples than components, or samples that are not finite.
    """
    from sklearn.mixture import GaussianMixture

    if samples.ndim != 2 or len(samples) < max(2, components) or not np.isfinite(samples).all():
        raise ValueError(
            f"samples have shape {samples.shape}; expected (n, d), finite, with at least {max(2, components)} rows"
        )
    regular = 1e-6 * float(np.mean(samples.var(axis=0))) + 1e-12
    model: Any = GaussianMixture(components, reg_covar=regular, random_state=int(rng.integers(2**31))).fit(samples)
    factors = np.linalg.cholesky(model.covariances_)
    weights = np.concatenate([(1 - broad) * model.weights_, broad * model.weights_])
    means = np.concatenate([model.means_, model.means_])
    return MixtureMove(weights / weights.sum(), means, np.concatenate([factors, widen * factors]))


@dataclass(frozen=True)
class LangevinMove:
    """One Euler-Maruyama step of overdamped Langevin dynamics (MALA; Roberts and Tweedie 1996): local motion.

    x' = x + h grad ln p(x) + sqrt(2 h) noise, a Gaussian whose density is known both ways.

    Attributes:
        gradient: of ln p, (n, d) → (n, d).
        step: h.
    """

    gradient: LogDensity
    step: float

    def propose(self, positions: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Proposals near the chains."""
        drift = positions + self.step * self.gradient(positions)
        new = drift + np.sqrt(2 * self.step) * rng.standard_normal(positions.shape)
        back = new + self.step * self.gradient(new)
        forward_square = np.sum((new - drift) ** 2, axis=1)
        backward_square = np.sum((positions - back) ** 2, axis=1)
        return new, np.asarray((forward_square - backward_square) / (4 * self.step))


@dataclass(frozen=True)
class Chains:
    """Metropolis chains.

    Attributes:
        positions: after every sweep, shape (sweeps, chains, d).
        acceptance: of each move, in the order given.
    """

    positions: Floats
    acceptance: tuple[float, ...]


def metropolise(
    log_density: LogDensity, moves: Sequence[Move], start: Floats, sweeps: int, rng: np.random.Generator
) -> Chains:
    """Sample a density exactly: each sweep applies every move once, each with its own acceptance test.

    Args:
        log_density: ln p = -U / kT up to a constant, (n, d) → (n,); -inf or nan where there is no density.
        moves: not changed while sampling, since fitting them to the chain would break detailed balance.
        start: shape (chains, d), of finite density.
        sweeps: how many.
        rng: random generator.

    Raises:
        ValueError: a start has no density.
    """
    positions = np.array(start, dtype=np.float64)
    current = _finite(log_density(positions))
    if not np.isfinite(current).all():
        raise ValueError("a chain starts where the density is zero; start from structures of a simulation")
    path = np.empty((sweeps, *positions.shape))
    accepted = np.zeros(len(moves))
    for sweep in range(sweeps):
        for number, move in enumerate(moves):
            new, correction = move.propose(positions, rng)
            proposed = _finite(log_density(new))
            with np.errstate(invalid="ignore"):
                passes: Bools = np.log(rng.random(len(positions))) < proposed - current + correction
            positions[passes], current[passes] = new[passes], proposed[passes]
            accepted[number] += np.count_nonzero(passes)
        path[sweep] = positions
    return Chains(path, tuple(float(a) for a in accepted / (sweeps * len(positions))))


def _finite(values: Floats) -> Floats:
    return np.where(np.isnan(values), -np.inf, values)


def independent_rows(chains: Chains, basins: Sequence[Callable[[Floats], Bools]] = ()) -> Floats:
    """Rows of the chains (n, d) so far apart that they count as independent, for tests against exact samples.

    The stride is twice the integrated autocorrelation time of the slowest of: every coordinate, whether it is in its
    lowest or highest twentieth, and whether a chain is in each basin; and at least as long as the stays, without an
    accepted move, that all but a hundredth of the samples are in. Coordinates alone would hide long stays in tails.

    Args:
        chains: to be thinned.
        basins: indicator functions of positions (n, d).
    """
    from latentmd.analysis.statistics import effective_samples

    sweeps, count, size = chains.positions.shape
    flat = chains.positions.reshape(-1, size)
    observed = [flat[:, i] for i in range(size)]
    for i in range(size):
        low, high = np.quantile(flat[:, i], [_TAIL, 1 - _TAIL])
        observed += [(flat[:, i] < low).astype(np.float64), (flat[:, i] > high).astype(np.float64)]
    observed += [np.asarray(inside(flat), dtype=np.float64) for inside in basins]
    series = [values.reshape(sweeps, count).T for values in observed if np.ptp(values) > 0]
    effective = min(effective_samples(list(runs)) for runs in series)
    stride = max(int(np.ceil(2 * sweeps * count / max(effective, 1.0))), _long_stay(chains.positions))
    return np.asarray(chains.positions[stride - 1 :: stride].reshape(-1, size))


def _long_stay(positions: Floats) -> int:
    """Sweeps of the stays that a sample at random is in, 99 % quantile; positions (sweeps, chains, d)."""
    lengths = []
    for chain in np.swapaxes(positions, 0, 1):
        begins = np.flatnonzero(np.r_[True, (chain[1:] != chain[:-1]).any(axis=1), True])
        lengths.append(np.repeat(np.diff(begins), np.diff(begins)))
    return int(np.ceil(np.quantile(np.concatenate(lengths), 0.99)))
