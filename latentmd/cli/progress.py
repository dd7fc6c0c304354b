"""Progress of a command on the terminal: one bar per stage, with amount, rate and time left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import click

from latentmd.units import format_time

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Display:
    """Shows the stages that a workflow reports, on stderr; call it as (stage, done, total, values).

    Args:
        picoseconds: amounts are simulated times in ps; plain numbers otherwise.
        keep: bars of finished stages stay beside the current one.
        lines: where stderr is no terminal, every new stage is printed as a line; nothing is shown otherwise.
    """

    def __init__(self, *, picoseconds: bool = False, keep: bool = False, lines: bool = False) -> None:
        self.picoseconds, self.keep, self.lines = picoseconds, keep, lines
        self.rows: Sequence[tuple[str, str]] = ()
        self.stage = ""
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self.bar = _bar(self)
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    @property
    def terminal(self) -> bool:
        """Whether stderr is a terminal."""
        return self.bar.console.is_terminal

    def __call__(
        self,
        stage: str,
        done: float | None = None,
        total: float | None = None,
        values: Mapping[str, float] | None = None,
    ) -> None:
        """Show a stage.

        Args:
            stage: its name.
            done, total: how far it is, where that can be told.
            values: numbers to show beside it, such as losses.
        """
        if stage not in self.tasks:
            if self.lines and not self.terminal:
                click.echo(stage, err=True)
            if not self.keep:
                for task in self.tasks.values():
                    self.bar.remove_task(task)
                self.tasks = {}
            self.tasks[stage] = self.bar.add_task(stage, total=total, completed=int(done or 0), note="")
        self.stage = stage
        task = self.tasks[stage]
        self.bar.update(task, completed=done or 0, total=total, note=self._note(task, done, total, values))

    def show_rows(self, rows: Sequence[tuple[str, str]]) -> None:
        """Show (name, value) pairs above the bar; where stderr is no terminal and `lines` is set, as a line."""
        self.rows = rows
        if self.lines and not self.terminal:
            click.echo("; ".join(f"{name} {value}" for name, value in rows), err=True)
        self.bar.refresh()

    def _note(self, task: TaskID, done: float | None, total: float | None, values: Mapping[str, float] | None) -> str:
        if values is not None:
            return " ".join(f"{name} {value:.3g}" for name, value in values.items())
        speed = self.bar._tasks[task].speed
        if self.picoseconds and done is not None and total is not None:
            rate = f", {speed / 1000:.3g} ns/s" if speed else ""
            return f"{format_time(done)} of {format_time(total)}{rate}"
        return f"{speed:.3g}/s" if speed else ""


def _bar(display: Display) -> Progress:
    """A rich Progress with the rows of the display above the bars."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Table

    class Bar(Progress):
        def get_renderables(self) -> Any:
            if display.rows:
                table = Table(show_header=False, box=None)
                for name, value in display.rows:
                    table.add_row(name, value)
                yield table
            yield self.make_tasks_table(self.tasks)

    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}")]
    columns += [TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]
    return Bar(*columns, console=Console(stderr=True), transient=not display.keep)
