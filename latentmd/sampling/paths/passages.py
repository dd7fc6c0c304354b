"""What paths did: the batches of a run put together, their passages, and the ways between the ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.analysis.statistics import binomial_interval
from latentmd.arrays import Bools, Doubles, Floats, Ints


@dataclass(frozen=True)
class Drawn:
    """All paths of a run; arrays of (paths, frames, ...).

    Attributes:
        kinds: numbers of `KINDS`.
        energies: kJ/mol.
        failed: structure checks failed, separated by spaces.
        sound: whether a frame passed the checks before relaxation.
        torsions: radians.
        weight: of each path, sum 1, shape (paths,).
        log_likelihood: ln of the probability, or density, of the end under the model.
        effective: least effective share of the particles of a filter.
        ancestors: different paths in the middle, over all filters.
    """

    cells: Ints
    slow: Floats
    kinds: Ints
    energies: Doubles
    failed: np.ndarray[Any, Any]
    sound: Bools
    torsions: Floats
    weight: Doubles
    log_likelihood: float
    effective: float
    ancestors: int


def read_batches(files: Sequence[Path]) -> Drawn:
    """Put the batches of a run together; each batch weighs as its filter found the end to be likely."""
    found = []
    for path in files:
        with np.load(path, allow_pickle=False) as file:
            found.append({name: file[name] for name in file.files})
    likelihood = np.array([float(batch["log_likelihood"]) for batch in found])
    counts = np.array([len(batch["cells"]) for batch in found])
    weight = np.repeat(np.exp(likelihood - likelihood.max()), counts)
    names = ("cells", "slow", "kinds", "energies", "failed", "sound", "torsions")
    joined = {name: np.concatenate([batch[name] for batch in found]) for name in names}
    mean = float(np.log(np.average(np.exp(likelihood - likelihood.max()), weights=counts)) + likelihood.max())
    least = min(float(batch["effective"].min()) for batch in found)
    return Drawn(
        **joined,
        weight=weight / weight.sum(),
        log_likelihood=mean,
        effective=least,
        ancestors=sum(int(batch["ancestors"]) for batch in found),
    )


@dataclass(frozen=True)
class Passage:
    """What one path does between its ends.

    Attributes:
        channel: states from the last frame in the first state to the first frame in the last one, without repeats.
        leaves: frame at which it was last in the first state.
        arrives: frame at which it is first in the last state; -1 where both ends are in one state.
    """

    channel: tuple[int, ...]
    leaves: int
    arrives: int


def passage(states: Ints, first: int, last: int) -> Passage:
    """The transition in a path with these states; where both ends are in one state, the whole path is its own
    channel.
    """
    if first == last:
        leaves, arrives = 0, -1
        part = states
    else:
        arrives = int(np.argmax(states == last))
        before = np.flatnonzero(states[:arrives] == first)
        leaves = int(before[-1]) if len(before) else 0
        part = states[leaves : arrives + 1]
    kept = part[np.concatenate([[True], part[1:] != part[:-1]])]
    return Passage(tuple(int(s) for s in kept), leaves, arrives)


@dataclass(frozen=True)
class Channel:
    """One way between the ends: states in order, from 0, number of paths, and share of the weight with its 95 %
    interval.
    """

    states: tuple[int, ...]
    count: int
    share: float
    low: float
    high: float

    @property
    def name(self) -> str:
        """States from 1, joined by arrows."""
        return " → ".join(str(s + 1) for s in self.states)


def channels(passages: Sequence[Passage], weight: Doubles, effective: float) -> list[Channel]:
    """Ways between the ends, the most frequent first; intervals go by the effective number of independent paths."""
    counts = Counter(p.channel for p in passages)
    result = []
    for states, count in counts.items():
        share = float(sum(w for p, w in zip(passages, weight, strict=True) if p.channel == states))
        low, high = binomial_interval(min(share, 1.0), max(1, round(effective)))
        result.append(Channel(states, count, share, low, high))
    return sorted(result, key=lambda channel: -channel.share)
