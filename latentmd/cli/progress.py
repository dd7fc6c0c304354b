"""Progress of a command: on a terminal a bar per stage, elsewhere a line now and then, with rate and time left."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import click

from latentmd.units import format_time, format_wall

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Amount = float | None  # of a stage, where it can be told
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0  # seconds between lines; each pause is twice the one before


class Display:
    """Shows the stages of a workflow, (stage, done, total, values), on stderr; with `picoseconds` amounts are ps, with
    `keep` bars stay. Where stderr is no terminal, a stage is a line, and a long one another after 5 s, 10 s and so on.
    """

    def __init__(self, *, picoseconds: bool = False, keep: bool = False) -> None:
        self.picoseconds, self.keep = picoseconds, keep
        self.tasks: dict[str, TaskID] = {}
        self.pause, self.next_line = _FIRST_PAUSE, 0.0

    def __enter__(self) -> Self:
        self.bar = _bar(self.keep)
        self.bar.start()
        self.terminal = self.bar.console.is_terminal
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(
        self, stage: str, done: Amount = None, total: Amount = None, values: Mapping[str, float] | None = None
    ) -> None:
        """Show a stage, how far it is where that can be told, and numbers beside it, such as losses."""
        if stage not in self.tasks:
            if not self.terminal:
                click.echo(stage, err=True)
                self.pause, self.next_line = _FIRST_PAUSE, time.monotonic() + _FIRST_PAUSE
            if not self.keep:
                for task in self.tasks.values():
                    self.bar.remove_task(task)
                self.tasks = {}
            self.tasks[stage] = self.bar.add_task(stage, total=total, completed=int(done or 0), note="")
        task = self.tasks[stage]
        self.bar.update(task, completed=done or 0, total=total, note=self._note(task, done, total, values))
        if not self.terminal and time.monotonic() >= self.next_line:
            self.pause = min(2 * self.pause, _LONGEST_PAUSE)
            self.next_line = time.monotonic() + self.pause
            click.echo(self._line(stage), err=True)

    def _line(self, stage: str) -> str:
        """A stage as text: share, amounts and rate, time left."""
        task = next(task for task in self.bar.tasks if task.id == self.tasks[stage])
        parts = [f"{task.percentage:.3g} %" if task.total else "", task.fields["note"]]
        left = task.time_remaining
        parts.append("" if left is None or task.finished else f"{format_wall(left)} left")
        return f"{stage}: " + ", ".join(part for part in parts if part)

    def _note(self, task: TaskID, done: Amount, total: Amount, values: Mapping[str, float] | None) -> str:
        if values is not None:
            return " ".join(f"{name} {value:.3g}" for name, value in values.items())
        speed = self.bar._tasks[task].speed
        if self.picoseconds and done is not None and total is not None:
            rate = f", {speed / 1000:.3g} ns/s" if speed else ""
            return f"{format_time(done)} of {format_time(total)}{rate}"
        return f"{speed:.3g}/s" if speed else ""


@contextmanager
def displayed(interruption: str) -> Iterator[Display]:
    """A display; errors end the command with exit code 1 and their message, Ctrl-C with what the interruption left."""
    from latentmd.cli.common import interrupted

    with Display() as stages:
        try:
            yield stages
        except (ValueError, OSError) as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            interrupted(interruption)


def _bar(keep: bool) -> Progress:
    """A rich Progress on stderr, which stays at the end where it is to be kept."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}")]
    columns += [TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]
    return Progress(*columns, console=Console(stderr=True), transient=not keep)
