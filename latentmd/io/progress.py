"""How far a stage of an evaluation is."""

from __future__ import annotations

from collections.abc import Callable

#: Called with what is done and the total, in any unit; the total is None while it is not known.
Tick = Callable[[float, float | None], None]
#: Called with the name of a stage as it begins and, where that can be told, with what is done and the total.
Progress = Callable[..., None]


def silent(done: float, total: float | None) -> None:
    """Show nothing."""


def part_of(tick: Tick, begun: float, total: float) -> Tick:
    """Progress of one part of a stage, as progress of the stage.

    Args:
        tick: of the stage.
        begun: what the stage had done before the part.
        total: of the stage.
    """

    def report(done: float, _: float | None) -> None:
        tick(begun + done, total)

    return report
