"""The rule that chooses how to simulate a molecule where the user leaves it open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Way = Literal["model", "chains", "md"]

#: Wall time of exact chains where the user names none, seconds.
DEFAULT_WALL = 600.0


@dataclass(frozen=True)
class Facts:
    """What the rule looks at.

    Attributes:
        uncovered: why no bundled model of one molecule covers this one; empty where one does.
        unsuitable: what keeps exact chains from sampling it, as the end of a sentence; empty where nothing does.
        trajectories: whether times along a trajectory were asked for: a length, walkers, an interval between frames.
    """

    uncovered: str
    unsuitable: str
    trajectories: bool = False


def choose(facts: Facts) -> tuple[Way, str]:
    """How to simulate, and one line that says why.

    A model of the molecule comes first, and plain MD where trajectories are wanted and there is none. Otherwise exact
    chains, whose statistics need no faith in any model, and plain MD for molecules that these cannot sample.

    Args:
        facts: about molecule and request.

    Example:
        >>> choose(Facts(uncovered="", unsuitable=""))
        ('model', 'a bundled model of this molecule')
    """
    if not facts.uncovered:
        return "model", "a bundled model of this molecule"
    if facts.trajectories:
        return "md", f"{facts.uncovered}; plain MD, since trajectories were asked for"
    if not facts.unsuitable:
        return "chains", f"{facts.uncovered}; exact chains, beside plain MD at a tenth of the cost"
    reason = f"{facts.uncovered}, and exact chains do not suit: the method {facts.unsuitable}"
    return "md", f"{reason}; plain MD"
