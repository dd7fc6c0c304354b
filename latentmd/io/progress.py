"""How far a workflow is, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

#: Called with what is done of one stage and the total, in any unit; the total is None while it is not known.
Tick = Callable[[float, float | None], None]
Values = Mapping[str, float] | None  # numbers to show beside a stage, such as losses, by name


class Progress(Protocol):
    """Called with the name of a stage as it begins and, where that can be told, with how far it is."""

    def __call__(
        self, stage: str, done: float | None = None, total: float | None = None, values: Values = None
    ) -> None:
        """Note a stage, how far it is in any unit, and numbers to show beside it."""


def quiet(stage: str, done: float | None = None, total: float | None = None, values: Values = None) -> None:
    """Show nothing of a workflow."""


def silent(done: float, total: float | None) -> None:
    """Show nothing of a stage."""


def stage(progress: Progress, name: str) -> Tick:
    """Begin a stage, and return what is called as it goes on."""
    progress(name)
    return lambda done, total: progress(name, done, total)


def part_of(tick: Tick, begun: float, total: float) -> Tick:
    """Progress of one part of a stage that is `total` long and was at `begun` before the part."""

    def report(done: float, _: float | None) -> None:
        tick(begun + done, total)

    return report
