"""Wells of one torsion: where its own density, smoothed on the circle, has maxima that count.

Cuts are put where the density is least, at the maxima of the free energy -kT ln(density). A maximum counts as a well
where the density between it and its neighbours falls by a factor e at least, a barrier of kT, and by more than chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentmd.arrays import Doubles, Floats

_BINS = 360
_WIDTH = 8.0  # standard deviation of the kernel, degrees
_BARRIER = 1.0  # kT
_DEVIATIONS = 3.0  # standard deviations of a difference of counts that are more than chance
_EMPTY = 1e-6  # frames under a kernel that count as none; what is less is rounding


@dataclass(frozen=True)
class Interval:
    """A well of one torsion.

    Attributes:
        low, high: where it is cut, degrees, low < high <= low + period, low from -period / 2 on.
        centre: mean of the torsion within it, degrees in [0, period).
    """

    low: float
    high: float
    centre: float


def intervals(degrees: Floats, period: float) -> list[Interval]:
    """Cut a torsion at the minima of its density, in the order of the circle; the whole of it where there is one well.

    Args:
        degrees: values, any shape; only what is left after division by `period` counts.
        period: degrees after which the torsion is the same.
    """
    under = smoothed(degrees, period)
    peaks, cuts = _extrema(under)
    while len(cuts) > 1:
        left, right = np.roll(under[peaks], 1), under[peaks]  # cut i lies before peak i
        lower, saddle = np.minimum(left, right), under[cuts]
        weak = (lower < np.exp(_BARRIER) * saddle) | (lower - saddle < _DEVIATIONS * np.sqrt(lower + saddle))
        if not weak.any():
            break
        worst = int(np.argmin(np.where(weak, lower / saddle, np.inf)))
        merged = peaks[worst] if right[worst] > left[worst] else peaks[worst - 1]
        peaks[worst - 1] = merged
        peaks, cuts = np.delete(peaks, worst), np.delete(cuts, worst)
    size = period / _BINS
    if len(cuts) < 2:
        lows, widths = (peaks[np.argmax(under[peaks])] + (_BINS + 1) / 2) % _BINS * np.ones(1), np.full(1, float(_BINS))
    else:
        ends = zip(np.roll(peaks, 1), peaks, strict=True)
        lows = np.array([_middle_of_valley(under, int(a), int(b)) for a, b in ends])
        widths = (np.roll(lows, -1) - lows) % _BINS
    found = []
    for low, width in zip((lows + _BINS / 2) % _BINS - _BINS / 2, widths, strict=True):
        after = (np.arange(_BINS) + 0.5 - low) % _BINS
        weight = np.where(after < width, under, 0.0)
        centre = (low + (weight @ after) / weight.sum()) % _BINS
        found.append(Interval(float(low * size), float((low + width) * size), float(centre * size)))
    return found


def smoothed(degrees: Floats, period: float) -> Doubles:
    """Frames under a Gaussian kernel at the middle of each of 360 parts of a period, shape (360,)."""
    places = np.floor(np.asarray(degrees, dtype=np.float64).ravel() / period * _BINS).astype(np.int64) % _BINS
    width = _WIDTH / period * _BINS
    waves = 2 * np.pi * np.fft.rfftfreq(_BINS)
    counts, kernel = np.bincount(places, minlength=_BINS), np.exp(-0.5 * (waves * width) ** 2)
    density = np.fft.irfft(np.fft.rfft(counts) * kernel, _BINS)
    return np.asarray(np.maximum(density * 2 * np.sqrt(np.pi) * width, _EMPTY))


def _extrema(under: Doubles) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the maxima, and of the least value before each of them, of a curve on a circle; runs count once."""
    step = np.sign(under - np.roll(under, 1))
    moves = np.flatnonzero(step)
    if not len(moves):
        return np.array([0]), np.array([0])
    signs = step[moves]
    tops = np.flatnonzero((signs > 0) & (np.roll(signs, -1) < 0))  # rises into it, and the next change is a fall
    ends = np.roll(moves, -1)[tops]
    peaks = (moves[tops] + ((ends - 1 - moves[tops]) % len(under)) // 2) % len(under)
    peaks = np.sort(peaks)
    cuts = np.array([_lowest(under, int(a), int(b)) for a, b in zip(np.roll(peaks, 1), peaks, strict=True)])
    return peaks, cuts


def _between(a: int, b: int, count: int) -> np.ndarray:
    return (a + np.arange((b - a) % count or count)) % count


def _lowest(under: Doubles, a: int, b: int) -> int:
    path = _between(a, b, len(under))
    return int(path[np.argmin(under[path])])


def _middle_of_valley(under: Doubles, a: int, b: int) -> float:
    """Middle of the lowest part of the curve from a peak to the next, in parts of a period."""
    path = _between(a, b, len(under))
    low = np.flatnonzero(under[path] <= under[path].min() * (1 + 1e-9))
    return float((a + (low[0] + low[-1]) / 2 + 0.5) % len(under))
