"""States of a molecule that chains report: for every torsion that can turn, which of its wells it is in.

Wells are found in the chains themselves: each torsion's density, all chains together, is cut at its minima
(`latentmd.sampling.metropolis.wells`). Everything that is counted, tested or compared afterwards, plain MD included,
uses the same cuts. Turns that only exchange equivalent atoms are no states, and torsions are counted modulo them.

A torsion of a bond between two atoms with four neighbours has wells called g+, t and g- where their mean is within 30
degrees of 60, 180 and -60; every other well is named by its mean.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from openmm import app
from scipy.signal import find_peaks

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.molecule.bonds import neighbour_lists
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.checks import torsions as dihedrals
from latentmd.molecule.stereo import mirror_image, symmetric_turns
from latentmd.molecule.torsions import acyclic_torsions, amide_torsions, rotatable_torsions, torsion_name

_BINS = 360
_WIDTH = 8.0  # standard deviation of the kernel, degrees
_BARRIER = 1.0  # kT
_DEVIATIONS = 3.0  # standard deviations of a difference of counts that are more than chance
_EMPTY = 1e-6  # frames under a kernel that count as none; what is less is rounding


def intervals(degrees: Floats, period: float) -> list[tuple[float, float, float]]:
    """Cut a torsion, degrees modulo `period`, at the minima of its density; the whole where there is one well.

    Of each well low and high, low < high <= low + period, low from -period / 2 on, and the mean, in [0, period).
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
        found.append((float(low * size), float((low + width) * size), float(centre * size)))
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
    if np.ptp(under) == 0:
        return np.array([0]), np.array([0])
    found = find_peaks(np.tile(under, 3))[0] - len(under)
    peaks = found[(found >= 0) & (found < len(under))]
    paths = [_between(int(a), int(b), len(under)) for a, b in zip(np.roll(peaks, 1), peaks, strict=True)]
    return peaks, np.array([path[np.argmin(under[path])] for path in paths])


def _between(a: int, b: int, count: int) -> np.ndarray:
    return (a + np.arange((b - a) % count or count)) % count


def _middle_of_valley(under: Doubles, a: int, b: int) -> float:
    """Middle of the lowest part of the curve from a peak to the next, in parts of a period."""
    path = _between(a, b, len(under))
    low = np.flatnonzero(under[path] <= under[path].min() * (1 + 1e-9))
    return float((a + (low[0] + low[-1]) / 2 + 0.5) % len(under))


_STAGGERED = {"g+": 60.0, "t": 180.0, "g-": 300.0}
_WITHIN = 30.0  # degrees


@dataclass(frozen=True)
class Turn:
    """A torsion that is reported, and the turns and reflections that give the same molecule.

    `mirror` is known for a molecule that equals its mirror image: the name of the torsion that this one becomes there,
    and the sum of both, degrees.
    """

    name: str
    torsion: int  # its column
    period: float = 360.0  # degrees after which the torsion is the same: 360, or 180, 120 or 60 for symmetric groups
    twin: int | None = None  # column of the same torsion with the other of two equivalent neighbours of a nitrogen
    staggered: bool = False  # whether both middle atoms have four neighbours
    ring: bool = False  # whether its bond is in a ring, so that moves propose the mirror image at most
    mirror: tuple[str, float] | None = None

    def degrees(self, angles: Floats) -> Doubles:
        """Values in degrees of torsions (..., torsions) in radians, to be taken modulo the period; shape (...).

        With a twin it is the direction of the line through both equivalent atoms, which is the torsion itself where
        the nitrogen is flat, and does not change where its pyramid inverts.
        """
        found = np.rad2deg(np.asarray(angles[..., self.torsion], dtype=np.float64))
        if self.twin is not None:
            found = (found + np.rad2deg(np.asarray(angles[..., self.twin], dtype=np.float64))) / 2 + 90.0
        return np.asarray(found)


@dataclass(frozen=True)
class Well:
    """An interval of one torsion, low < high <= low + period in degrees, such as "phi ALA2 near -70°"."""

    name: str
    turn: Turn
    low: float  # which belongs to the well
    high: float
    centre: float = 0.0  # mean of the torsion within it

    @property
    def only(self) -> bool:
        """Whether its torsion has no other well."""
        return self.high - self.low >= self.turn.period

    def inside(self, angles: Floats) -> Bools:
        """Whether torsions (..., torsions) in radians are in the well, shape (...)."""
        return np.asarray((self.turn.degrees(angles) - self.low) % self.turn.period < self.high - self.low)


def recorded_torsions(topology: app.Topology, quads: Ints) -> Ints:
    """Torsions that have to be recorded: the quads given, and behind them the twins of those that have one."""
    twins = symmetric_turns(*topology_arrays(topology), quads)[1]
    return np.array([*quads.tolist(), *twins.values()], dtype=np.int64).reshape(-1, 4)


def turns_of(topology: app.Topology, positions: Floats, sided: Collection[tuple[int, ...]] = ()) -> tuple[Turn, ...]:
    """The torsions of a molecule that are reported, given a structure (atoms, 3) in nm, without those of `sided` bonds.

    Left out are amides with a hydrogen, which are not sampled, bonds in rings next to a flat atom, and torsions that
    are not defined because three of the atoms are in line.
    """
    symbols, bonds = topology_arrays(topology)
    quads, positions = rotatable_torsions(symbols, bonds), np.asarray(positions, dtype=np.float64)
    names = [torsion_name(topology, quad) for quad in quads.tolist()]
    around = neighbour_lists(len(symbols), bonds)
    kept = [k for k in _turning(symbols, bonds, quads) if tuple(sorted(quads[k, 1:3].tolist())) not in sided]
    open_ = acyclic_torsions(quads, bonds, len(symbols))[0].tolist()
    periods, twins = symmetric_turns(symbols, bonds, quads)
    columns = dict(zip(twins, range(len(quads), len(quads) + len(twins)), strict=True))
    images = _reflections(mirror_image(symbols, bonds, positions), quads, kept, twins, positions)
    found = []
    for torsion in kept:
        period, image = 360.0 / int(periods[torsion]), images.get(torsion)
        mirror = None if image is None else (names[image[0]], image[1] % period)
        staggered = all(len(around[i]) == 4 for i in quads[torsion, 1:3].tolist())
        twin, ring = columns.get(torsion), quads[torsion].tolist() not in open_
        found.append(Turn(names[torsion], torsion, period, twin=twin, staggered=staggered, ring=ring, mirror=mirror))
    return tuple(found)


def can_turn(topology: app.Topology) -> bool:
    """Whether any torsion of a molecule is one that is reported."""
    symbols, bonds = topology_arrays(topology)
    return bool(_turning(symbols, bonds, rotatable_torsions(symbols, bonds)))


def _turning(symbols: list[str], bonds: Ints, quads: Ints) -> list[int]:
    around = neighbour_lists(len(symbols), bonds)
    open_ = {tuple(quad) for quad in acyclic_torsions(quads, bonds, len(symbols))[0].tolist()}
    amides = {tuple(quad) for quad in amide_torsions(symbols, bonds).tolist()}
    kept = []
    for torsion, quad in enumerate(quads.tolist()):
        middle = quad[1:3]
        if tuple(quad) not in open_:
            can = all(len(around[i]) in (2, 4) for i in middle)
        elif tuple(quad) in amides:
            can = not any(symbols[i] == "N" and any(symbols[j] == "H" for j in around[i]) for i in middle)
        else:
            can = not any(symbols[i] == "C" and len(around[i]) == 2 for i in middle)
        if can:
            kept.append(torsion)
    return kept


def _reflections(
    image: list[int] | None, quads: Ints, kept: Sequence[int], twins: dict[int, list[int]], positions: Floats
) -> dict[int, tuple[int, float]]:
    """For each torsion of an achiral molecule: the one that it becomes in the mirror image, and the sum of both.

    The recorded torsion about the image of a bond may have other outer atoms. Both differ by a multiple of 60 degrees,
    give or take what bond angles and flat groups give way, which the structure at hand decides.
    """
    if image is None:
        return {}
    by_bond = {frozenset(quads[i, 1:3].tolist()): i for i in kept}
    found = {}
    for torsion in kept:
        moved = [image[i] for i in quads[torsion].tolist()]
        other = by_bond[frozenset(moved[1:3])]
        recorded = quads[other].tolist()
        moved = moved if moved[1] == recorded[1] else moved[::-1]
        if other in twins:
            rows = zip(moved, recorded, twins[other], strict=True)
            moved = [own if atom == twin else atom for atom, own, twin in rows]
        both = np.rad2deg(dihedrals(positions[None], np.array([recorded, moved]))[0])
        found[torsion] = (other, float(60 * np.round((both[0] - both[1]) / 60)))
    return found


def wells(turns: Sequence[Turn], angles: Floats) -> tuple[Well, ...]:
    """Find the wells of torsions in chains, radians (..., torsions), twins behind; each torsion has one at least."""
    found: list[Well] = []
    for turn in turns:
        degrees = turn.degrees(angles).ravel()
        if turn.mirror is not None and turn.mirror[0] == turn.name:
            degrees = np.concatenate([degrees, turn.mirror[1] - degrees])
        parts = intervals(degrees, turn.period)
        labels = [_label(turn, centre) for _, _, centre in parts]
        if len(set(labels)) < len(labels):
            labels = [f"{low:.0f}° to {high:.0f}°" for low, high, _ in parts]
        found += [Well(f"{turn.name} {label}", turn, *part) for label, part in zip(labels, parts, strict=True)]
    return tuple(found)


def _label(turn: Turn, centre: float) -> str:
    if turn.staggered and turn.period == 360:
        for label, ideal in _STAGGERED.items():
            if abs((centre - ideal + 180) % 360 - 180) <= _WITHIN:
                return label
    images = [10 * round(centre / 10) + turn.period * i for i in range(round(360 / turn.period))]
    return "near " + ", ".join(f"{place}°" for place in sorted(180 - round(180 - image) % 360 for image in images))


def mirror_pairs(found: Sequence[Well]) -> list[tuple[int, int]]:
    """Pairs of different wells that are mirror images of each other in an achiral molecule, by index."""
    pairs = set()
    for i, well in enumerate(found):
        if well.turn.mirror is None:
            continue
        name, total = well.turn.mirror
        same = (name, well.turn.period)
        others = [j for j, other in enumerate(found) if (other.turn.name, other.turn.period) == same]
        if not others:
            continue
        turned = (total - well.centre - np.array([found[j].centre for j in others])) / well.turn.period
        distance = np.abs(turned - np.round(turned)) * well.turn.period
        nearest = others[int(np.argmin(distance))]
        if nearest != i and distance.min() < _WITHIN:
            pairs.add((min(i, nearest), max(i, nearest)))
    return sorted(pairs)


def symmetric_names(turns: Sequence[Turn]) -> list[str]:
    """Sentences that name the symmetric torsions, by their period."""
    found = []
    for period, words in ((180.0, "half a turn"), (120.0, "a third of a turn"), (60.0, "a sixth of a turn")):
        names = dict.fromkeys(turn.name for turn in turns if turn.period == period)
        if names:
            found.append(f"{words} changes nothing: {', '.join(names)}")
    return found
