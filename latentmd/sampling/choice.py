"""The rule that chooses how to simulate a molecule where the user leaves it open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Way = Literal["model", "chains", "bursts", "md"]

#: Wall time of exact chains where the user names none, seconds.
DEFAULT_WALL = 600.0


@dataclass(frozen=True)
class Facts:
    """What the rule looks at.

    Attributes:
        uncovered: why no bundled model of one molecule covers this one; empty where one does.
        unsuitable: what keeps exact chains from sampling it, as the end of a sentence; empty where nothing does.
        trajectories: whether times along a trajectory were asked for: a length, walkers, an interval between frames.
        wall: budget of wall time in seconds; None where there is none.
    """

    uncovered: str
    unsuitable: str
    trajectories: bool = False
    wall: float | None = None


def choose(facts: Facts) -> tuple[Way, str]:
    """How to simulate, and one line that says why.

    A model of the molecule comes first, and plain MD where trajectories are wanted and there is none. Otherwise exact
    chains, whose statistics need no faith in any model. Molecules that these cannot sample get bursts where the wall
    time is limited, since plain MD does not stop by the clock, and plain MD where it is not: bursts have not been
    better than plain MD on any such molecule yet.

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
    if facts.wall is not None:
        return "bursts", f"{reason}; bursts until the wall time is over"
    return "md", f"{reason}; plain MD"
