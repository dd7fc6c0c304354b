"""Shared by the commands: messages, and errors as exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from latentmd.units import format_time

if TYPE_CHECKING:
    from latentmd.sampling.run.stopping import RunResult

INTERRUPTED = 130  # exit code after Ctrl-C or SIGTERM


class BadInput(click.ClickException):
    """Input that cannot be used."""

    exit_code = 2


class _Echo(logging.Handler):
    """Prints messages of the library to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(record.getMessage(), err=True)


def interrupted(message: object) -> NoReturn:
    """End the command after Ctrl-C or SIGTERM with one message."""
    click.echo(str(message), err=True)
    sys.exit(INTERRUPTED)


@contextmanager
def run_errors() -> Iterator[None]:
    """Turn errors of a run into exit codes with one message: 2 for wrong input, 1 for a failed run, 130 for Ctrl-C."""
    from latentmd.io.atomic import OutputError
    from latentmd.sampling.run.stopping import RunError, RunInterrupted

    logger, echo = logging.getLogger("latentmd"), _Echo(logging.WARNING)
    logger.addHandler(echo)
    try:
        yield
    except RunInterrupted as error:
        interrupted(error)
    except KeyboardInterrupt:
        interrupted("stopped before anything was written")
    except RunError as error:
        raise click.ClickException(str(error)) from error
    except (ValueError, OutputError) as error:
        raise BadInput(str(error)) from error
    except OSError as error:
        raise click.ClickException(str(error)) from error
    finally:
        logger.removeHandler(echo)


def speed_line(speed: dict[str, float]) -> str:
    """Speed of a run over the fastest plain MD on the same cores, and over the other one, in one line."""
    rates = {"OpenMM": (speed["over_plain_md"], speed["plain_md_ns_per_day"])}
    if "over_replica_engine" in speed:
        rates["the replica engine"] = (speed["over_replica_engine"], speed["replica_engine_ns_per_day"])
    (name, (ratio, rate)), *others = sorted(rates.items(), key=lambda item: item[1])
    start_up = speed["over_plain_md_with_start_up"] * ratio / speed["over_plain_md"]
    beside = "".join(f"; {other:,.1f} times that with {engine}" for engine, (other, _) in others)
    return (
        f"{ratio:,.1f} times the speed of plain MD on the same cores with {name} ({rate:,.0f} ns/day; {start_up:,.1f} "
        f"times with start-up{beside})"
    )


def failing(summary: dict[str, Any]) -> list[str]:
    """A line on frames that fail a check, where there are any."""
    count = summary["frames_failing_checks"]
    return [f"frames that fail a check: {count}; provenance.csv says which"] if count else []


def show_result(result: RunResult) -> None:
    """A few lines about a finished run."""
    summary, frames = result.summary, sum(result.summary["frames"])
    simulated, wall = format_time(summary["simulated_ps"]), summary["wall_seconds"]["total"]
    lines = [f"{summary['walkers']} walkers, {simulated} in all, {frames:,} frames, in {wall:.1f} s"]
    if added := summary["added_atoms"]:
        shown = ", ".join(added[:6]) + (f" and {len(added) - 6} more" if len(added) > 6 else "")
        lines.append(f"the PDB file lacked, and got: {shown}")
    if "over_plain_md" in summary["speed"]:
        lines.append(speed_line(summary["speed"]))
    lines += [*failing(summary), *summary["notes"]]
    if (record := (summary["model"] or {}).get("zero_shot")) is not None:
        from latentmd.model.manifest import ZeroShot
        from latentmd.model.zero_shot import zero_shot_lines

        sound = 1 - summary["frames_failing_checks"] / frames if frames else None
        lines += zero_shot_lines(ZeroShot.model_validate(record), summary["molecule"], sound)
    page = ", evaluation.html" if (result.folder / "evaluation.html").exists() else ""
    files = f"{len(result.trajectories)} trajectories, provenance.csv, summary.json, report.png{page}"
    click.echo("\n".join([*lines, f"wrote {result.folder}/: {files}"]))


def print_table(title: str, rows: Iterable[Sequence[str]], columns: Sequence[str] = ()) -> None:
    """Print a table with a title: rows under the names of their columns, or of a name and a value."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, show_header=bool(columns), title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column == "atoms" else "left")
    if not columns:
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table, highlight=False)
