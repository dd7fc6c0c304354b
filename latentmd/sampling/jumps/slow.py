"""Which torsions MD turns slowly, as a pilot of MD shows, where jumps of these may go, and how to bias them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from latentmd.arrays import Floats, Ints
from latentmd.integrators.torsion_bias import evenness
from latentmd.integrators.torsion_blocks import TorsionBlock, TorsionTable
from latentmd.sampling.metropolis.wells import Turn, Well

#: A torsion is slow where MD turns it less than once in so many ps: about what an accepted jump costs.
SLOW = 100.0
_NEAR = 30.0  # degrees from the middle of a well, within which it counts as entered
_BINS = 36  # of a table of proposals
_LEVELS, _EVEN = (1.0, 2.0, 3.0, 4.0, 6.0), 0.15  # kT; least evenness of weights
_FAR, _NARROW = 10, 4  # cells around the present one where jumps do not go: of phi and psi, and of other torsions


def thirds(turn: Turn) -> list[Well]:
    """Three wells of equal width of a torsion of which nothing is known."""
    width = turn.period / 3
    return [Well(f"{turn.name} {i}", turn, i * width, (i + 1) * width, (i + 0.5) * width) for i in range(3)]


def changes(turn: Turn, wells: Sequence[Well], angles: Floats) -> int:
    """Changes of the well that was entered last, in torsions (frames, torsions) in radians."""
    centres = np.array([well.centre for well in wells])
    away = np.abs((turn.degrees(angles)[:, None] - centres + turn.period / 2) % turn.period - turn.period / 2)
    entered = np.where(away.min(axis=1) < _NEAR, away.argmin(axis=1), -1)
    return int(np.count_nonzero(np.diff(entered[entered >= 0])))


def turning(turns: Sequence[Turn], known: Sequence[Well], angles: Floats, time: float) -> dict[str, tuple[bool, str]]:
    """Whether each torsion is slow in a pilot of so many ps, and why; `known` are wells, if any, angles as above."""
    found = {}
    for turn in turns:
        wells = [well for well in known if well.turn.name == turn.name] or thirds(turn)
        count, can = changes(turn, wells, angles), len(wells) > 1 and not turn.ring
        slow = can and count * SLOW < max(time, SLOW)
        why = f"{count} changes of well in {time:.0f} ps" if can else "a ring, or one well in implicit solvent"
        found[turn.name] = slow, f"{why}: {'slow' if slow else 'left to MD'}"
    return found


def slow_blocks(
    turns: Sequence[Turn], quads: Ints, slow: Mapping[str, bool], samples: Floats | None
) -> list[TorsionBlock]:
    """Blocks of the slow torsions to jump; phi and psi of a residue jump together where one of them is slow.

    Quads are of the columns of `samples` (frames, torsions) in radians, whose density proposes; uniform where None.
    """
    blocks = []
    for title, names, columns in _together(turns, slow):
        least = tuple(_FAR if slow[one] else _BINS // 2 for one in names) if len(names) > 1 else (_NARROW,)
        table = TorsionTable.uniform(len(names), _BINS, least)
        if samples is not None:
            table = TorsionTable.from_samples(samples[:, columns], _BINS, least)
        blocks.append(TorsionBlock(title, quads[columns], table))
    return blocks


def biased_blocks(
    turns: Sequence[Turn], quads: Ints, slow: Mapping[str, bool], samples: Floats
) -> tuple[list[TorsionBlock], float]:
    """Blocks of the slow torsions to bias, with the density of samples, and the kT above which the bias is to act.

    The more torsions, the higher: the weights of all blocks together are to keep an evenness of `_EVEN`.
    """
    together = _together(turns, slow)
    tables = [
        TorsionTable.from_samples(samples[:, columns], _BINS, -1, power=1, smooth=1) for _, _, columns in together
    ]
    for above in _LEVELS:
        if np.prod([evenness(table.weights, above) for table in tables]) > _EVEN:
            break
    return [TorsionBlock(t, quads[c], table) for (t, _, c), table in zip(together, tables, strict=True)], above


def _together(turns: Sequence[Turn], slow: Mapping[str, bool]) -> list[tuple[str, list[str], list[int]]]:
    """Title, names and columns of the torsions of each block: phi and psi of a residue in one."""
    by_name, blocks = {turn.name: turn for turn in turns}, dict[str, tuple[str, list[str], list[int]]]()
    for name in by_name:
        kind, _, residue = name.partition(" ")
        pair = [f"phi {residue}", f"psi {residue}"]
        names = pair if kind in ("phi", "psi") and by_name.keys() >= set(pair) else [name]
        columns, title = [by_name[one].torsion for one in names], residue if len(names) > 1 else name
        if any(slow[one] for one in names):
            blocks[title] = title, names, columns
    return list(blocks.values())
