"""What paths did: the batches of a run put together, their passages, and the ways between the ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentmd.analysis.statistics import binomial_interval
from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.sampling.paths.plan import PathPlan
from latentmd.sampling.run.preparation import read_arrays

_COLUMNS = ("cells", "slow", "kinds", "energies", "failed", "sound", "torsions")


@dataclass(frozen=True)
class Drawn:
    """All paths of a run; arrays of (paths, frames, ...)."""

    cells: Ints
    slow: Floats  # slow axes, shape (paths, frames, tokens, k)
    kinds: Ints  # numbers of `KINDS`
    energies: Doubles  # kJ/mol
    failed: NDArray[np.str_]  # structure checks failed, separated by spaces
    sound: Bools  # whether a frame passed the checks before relaxation
    torsions: Floats  # radians
    weight: Doubles  # of each path, sum 1, shape (paths,)
    log_likelihood: float  # ln of the probability, or density, of the end under the model
    effective: float  # least effective share of the particles of a filter
    ancestors: int  # different paths in the middle, over all filters


def read_batches(files: Sequence[Path]) -> Drawn:
    """Put the batches of a run together; each batch weighs as its filter found the end to be likely."""
    found = [read_arrays(file) for file in files]
    likelihood = np.array([float(batch["log_likelihood"]) for batch in found])
    counts, largest = [len(batch["cells"]) for batch in found], likelihood.max()
    weight = np.repeat(np.exp(likelihood - largest), counts)
    return Drawn(
        **{name: np.concatenate([batch[name] for batch in found]) for name in _COLUMNS},
        weight=weight / weight.sum(),
        log_likelihood=float(np.log(np.average(np.exp(likelihood - largest), weights=counts)) + largest),
        effective=min(float(batch["effective"].min()) for batch in found),
        ancestors=sum(int(batch["ancestors"]) for batch in found),
    )


@dataclass(frozen=True)
class Passage:
    """What one path does from the last frame in the first state to the first frame in the last one."""

    channel: tuple[int, ...]  # states, without repeats
    leaves: int  # frame at which it was last in the first state
    arrives: int  # frame at which it is first in the last state; -1 where both ends are in one state


def passage(states: Ints, first: int, last: int) -> Passage:
    """The transition in a path with these states; all of the path where both ends are in one state."""
    leaves, arrives, part = 0, -1, states
    if first != last:
        arrives = int(np.argmax(states == last))
        before = np.flatnonzero(states[:arrives] == first)
        leaves = int(before[-1]) if len(before) else 0
        part = states[leaves : arrives + 1]
    kept = part[np.concatenate([[True], part[1:] != part[:-1]])]
    return Passage(tuple(int(s) for s in kept), leaves, arrives)


@dataclass(frozen=True)
class Channel:
    """One way between the ends: states from 0, number of paths, and share of the weight with its 95 % interval."""

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
    result = []
    for states, count in Counter(p.channel for p in passages).items():
        share = float(sum(w for p, w in zip(passages, weight, strict=True) if p.channel == states))
        result.append(Channel(states, count, share, *binomial_interval(min(share, 1.0), max(1, round(effective)))))
    return sorted(result, key=lambda channel: -channel.share)


@dataclass(frozen=True)
class Outcome:
    """The paths of a run, and what they did between its ends."""

    plan: PathPlan
    drawn: Drawn

    @cached_property
    def states(self) -> Ints:
        """State of each frame, shape (paths, frames)."""
        return self.plan.chain.states[self.drawn.cells]

    @cached_property
    def passages(self) -> list[Passage]:
        """Of each path."""
        first, last = self.plan.ends
        return [passage(row, first.state, last.state) for row in self.states]

    @property
    def effective(self) -> float:
        """Number of paths that are independent of each other."""
        return min(1 / float((self.drawn.weight**2).sum()), self.drawn.ancestors)

    @cached_property
    def ways(self) -> list[Channel]:
        """Ways between the ends, the most frequent first."""
        return channels(self.passages, self.drawn.weight, self.effective)
