"""Distances between distributions, their finite-sample floors, bootstrap intervals and effective sample sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from latentmd.arrays import Arrays, Floats, Ints

BINS_1D, BINS_2D = 100, 50  # the MDGen analysis
_LEVEL = 0.95  # of intervals


class Estimate(NamedTuple):
    """A value with its 95 % interval, nan where nothing can tell, and the events that it was counted from."""

    value: float
    low: float
    high: float
    events: int = 0


def js_distance(p: ArrayLike, q: ArrayLike) -> float:
    """Jensen-Shannon distance of two histograms: square root of the divergence in nats, at most 0.8326."""
    from scipy.special import rel_entr

    a, b = np.asarray(p, dtype=np.float64).ravel(), np.asarray(q, dtype=np.float64).ravel()
    if a.shape != b.shape:
        raise ValueError(f"histograms of {a.size} and {b.size} bins cannot be compared; use the same bins for both")
    if not (a.sum() > 0 and b.sum() > 0):
        raise ValueError("an empty histogram has no Jensen-Shannon distance; every sample fell outside the bins")
    a, b = a / a.sum(), b / b.sum()
    mean = 0.5 * (a + b)
    # scipy's own jensenshannon is nan where rounding makes the divergence of equal histograms negative.
    return float(np.sqrt(max(0.5 * float(np.sum(rel_entr(a, mean) + rel_entr(b, mean))), 0.0)))


@dataclass(frozen=True)
class Grid:
    """A histogram grid in one or two dimensions; a value outside or on its end counts in the nearest bin."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    bins: int

    @property
    def size(self) -> int:
        """Number of bins."""
        return int(self.bins ** len(self.low))

    def indices(self, values: Floats) -> Ints:
        """Flat bin index of every sample; values of shape (samples,) or (samples, dimensions)."""
        columns = np.asarray(values).reshape(len(values), -1)
        flat = np.zeros(len(columns), dtype=np.int64)
        for low, high, column in zip(self.low, self.high, columns.T, strict=True):
            index = np.floor((column - low) / (high - low) * self.bins).astype(np.int64)
            flat = flat * self.bins + np.clip(index, 0, self.bins - 1)
        return flat

    def counts(self, values: Floats) -> Floats:
        """Histogram counts, shape (bins,) or (bins, bins)."""
        histogram = np.bincount(self.indices(values), minlength=self.size).astype(np.float64)
        return histogram.reshape((self.bins,) * len(self.low))


TORSION_GRID = Grid((-np.pi,), (np.pi,), BINS_1D)
TORSION_PAIR_GRID = Grid((-np.pi, -np.pi), (np.pi, np.pi), BINS_2D)


def joint_grid(*samples: Floats) -> Grid:
    """Grid over the joint minimum and maximum of several sample sets: 100 bins in 1-D, 50 x 50 in 2-D."""
    columns = [np.asarray(s).reshape(len(s), -1) for s in samples]
    low = np.min([c.min(axis=0) for c in columns], axis=0)
    high = np.max([c.max(axis=0) for c in columns], axis=0)
    high = np.where(high > low, high, low + 1.0)
    return Grid(tuple(float(x) for x in low), tuple(float(x) for x in high), BINS_1D if len(low) == 1 else BINS_2D)


def sample_js_distance(a: Floats, b: Floats, grid: Grid) -> float:
    """Jensen-Shannon distance of two sets of samples (samples,) or (samples, dimensions) on a grid."""
    return js_distance(grid.counts(a), grid.counts(b))


def analytic_floor(occupied: int, n1: float, n2: float) -> float:
    """JS distance expected of n1 and n2 samples over B bins, each with several: sqrt((B - 1) / 8 (1/n1 + 1/n2))."""
    return float(np.sqrt(max(occupied - 1, 0) / 8 * (1 / n1 + 1 / n2)))


def lag_sums(runs: Sequence[Arrays], max_lag: int) -> tuple[Floats, Floats]:
    """Sum of x*_t x_(t+k) over all pairs of frames of real or complex runs (frames,), and their number, at lags k."""
    from scipy.signal import correlate

    total, pairs = np.zeros(max_lag + 1), np.zeros(max_lag + 1)
    for run in runs:
        lags = min(max_lag + 1, len(run))
        total[:lags] += correlate(run, run, method="fft")[len(run) - 1 :][:lags].real
        pairs[:lags] += len(run) - np.arange(lags)
    return total, np.maximum(pairs, 1)


def autocorrelation(series: Sequence[Floats], max_lag: int | None = None) -> Floats:
    """Autocorrelation of a scalar over runs (frames,) about their joint mean, rho(0) = 1; zeros for a constant."""
    runs = [np.asarray(s, dtype=np.float64) for s in series]
    longest = max(map(len, runs)) - 1
    mean = np.sum([run.sum() for run in runs]) / sum(map(len, runs))
    total, pairs = lag_sums([run - mean for run in runs], longest if max_lag is None else min(max_lag, longest))
    covariance = total / pairs
    return covariance / covariance[0] if covariance[0] > 0 else np.zeros_like(covariance)


def effective_samples(series: Sequence[Floats]) -> float:
    """Independent samples N / (1 + 2 sum rho) in runs (frames,), to the first rho <= 0; of a constant one per run."""
    n = sum(len(s) for s in series)
    if n < 2 or (max(np.ptp(s) for s in series) == 0 and len({float(s[0]) for s in series}) == 1):
        return float(len(series)) if n else 0.0
    rho = autocorrelation(series)
    stop = np.flatnonzero(rho <= 0)
    last = int(stop[0]) if len(stop) else len(rho)
    return float(n / (1 + 2 * np.sum(rho[1:last])))


def missing_region(generated: Floats, reference: Floats, radius: float = 0.3) -> bool:
    """Whether a reference point (samples, 2) is further than `radius` times the range from all generated ones."""
    from scipy.spatial import cKDTree

    low, span = reference.min(axis=0), np.maximum(np.ptp(reference, axis=0), 1e-12)
    # One point per cell of a grid far finer than the radius stands for all of its cell.
    cells = [np.unique(np.round((x - low) / span * 200), axis=0) / 200 for x in (generated, reference)]
    distance, _ = cKDTree(cells[0]).query(cells[1])
    return bool(np.max(distance) > radius)


def evenly(length: int, count: int) -> Ints:
    """Indices of so many of `length` things, spread evenly; all where there are fewer."""
    return np.linspace(0, length - 1, min(length, count)).astype(int)


def split_blocks(lengths: Sequence[int], block: int) -> list[tuple[int, int, int]]:
    """Cut runs into blocks (run, first frame, last frame + 1) of `block` frames; a shorter run is its own block."""
    blocks = []
    for run, length in enumerate(lengths):
        size = max(1, min(block, length))
        blocks += [(run, start, start + size) for start in range(0, length - size + 1, size)]
    return blocks


def bootstrap_interval(
    blocks: Floats, statistic: Callable[[Floats], float], rng: np.random.Generator, resamples: int = 200
) -> tuple[float, float]:
    """Percentile interval of a statistic of summed blocks (blocks, ...) (Kunsch 1989); nan with fewer than two."""
    count = len(blocks)
    if count < 2:
        return float("nan"), float("nan")
    flat = np.asarray(blocks, dtype=np.float64).reshape(count, -1)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    values = [statistic((w @ flat).reshape(np.shape(blocks)[1:])) for w in weights]
    finite = [v for v in values if np.isfinite(v)]
    if not finite:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def binomial_interval(fraction: float, count: int) -> tuple[float, float]:
    """Wilson's interval of a fraction of independent trials (Wilson, J. Am. Stat. Assoc. 22, 209, 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(round(fraction * count), count).proportion_ci(_LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


class Floor(NamedTuple):
    """Finite-sample floors of a JS distance, as `finite_sample_floor` says, and the frames held out for them."""

    value: float
    frames: int
    effective: float
    independent: float


def finite_sample_floor(
    indices: Sequence[Ints], bins: int, frames: int, effective: float, rng: np.random.Generator, splits: int = 4
) -> Floor:
    """Score of MD against MD, averaged over splits of flat bin indices (frames,) per run. Matched frames: a stretch of
    `frames`, at most half of the reference, against the rest. Matched effective samples: `effective` frames drawn at
    random. Independent: as many random frames as the stretch holds.
    """
    everything = np.concatenate(list(indices))
    total = np.bincount(everything, minlength=bins).astype(np.float64)
    held = max(1, min(frames, len(everything) // 2))
    starts = np.linspace(0, len(everything) - held, splits).astype(int)
    draws = max(1, min(round(effective), len(everything) // 2))
    scores = []
    for start in starts:
        random = (rng.choice(everything, size, replace=False) for size in (draws, held))
        parts = [np.bincount(part, minlength=bins) for part in (everything[start : start + held], *random)]
        scores.append([js_distance(part, total - part) for part in parts])
    value, by_samples, by_draws = (float(np.mean(column)) for column in zip(*scores, strict=True))
    return Floor(value, held, by_samples, by_draws)
