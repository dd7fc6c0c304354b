"""Shared by the commands: times with units, messages, and errors as exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import click

from latentmd.units import format_time, parse_time

if TYPE_CHECKING:
    from latentmd.sampling.walkers.run import RunResult

INTERRUPTED = 130  # exit code after Ctrl-C or SIGTERM


class Time(click.ParamType[float]):
    """A time with a unit, such as 10ns; converted to ps."""

    name = "time"

    def parse(self, text: str) -> float:
        """Picoseconds."""
        return parse_time(text)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The time as a number."""
        if isinstance(value, float):
            return value
        try:
            return self.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class WallTime(Time):
    """A wall time with a unit, such as 30min; converted to seconds."""

    name = "wall time"
    _seconds: ClassVar[dict[str, float]] = {"min": 60.0, "s": 1.0, "h": 3600.0}

    def parse(self, text: str) -> float:
        """Seconds."""
        text = text.strip()
        unit = next((unit for unit in self._seconds if text.endswith(unit)), "")
        with suppress(ValueError):
            number = float(text.removesuffix(unit))
            if unit and 0 < number < float("inf"):
                return number * self._seconds[unit]
        raise ValueError(
            f"{text!r} is not a wall time; expected a positive number and a unit (s, min or h), such as 30min"
        )


def settings_of(kind: str, argument: str = "settings") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command its options that are fields of a dataclass ("module:name", imported on a call) as one argument."""
    module, name = kind.split(":")

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def packed(*args: Any, **options: Any) -> None:
            made = getattr(import_module(module), name)
            given = {field.name: options.pop(field.name) for field in fields(made) if field.name in options}
            command(*args, **{argument: made(**given)}, **options)

        return packed

    return decorate


def input_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options about reading a molecule's file to a command, which gets them as one `inputs`."""

    @wraps(command)
    def packed(*args: Any, **options: Any) -> None:
        from latentmd.systems.protocol import InputOptions

        names = (
            "ph",
            "model_number",
            "altloc",
            "missing",
            "ends",
            "positions",
            "parameters",
            "system",
            "smiles",
            "strip_salts",
        )
        with run_errors():
            inputs = InputOptions(**{name: options.pop(name) for name in names})
        command(*args, inputs=inputs, **options)

    for option in reversed(_INPUT_OPTIONS):
        packed = option(packed)
    return packed


_INPUT_OPTIONS = (
    click.option(
        "--ph", type=float, default=7.0, show_default=True, help="Of residues not named by their protonation."
    ),
    click.option("--model-number", type=int, help="MODEL to take of a file with several. [default: the first]"),
    click.option("--altloc", help="Alternate location to take. [default: of highest occupancy]"),
    click.option(
        "--missing",
        type=click.Choice(["refuse", "add", "split"]),
        default="refuse",
        show_default=True,
        help="Gaps in a chain: refuse, add the residues that SEQRES names, or split the chain.",
    ),
    click.option(
        "--ends",
        type=click.Choice(["charged", "capped"]),
        default="charged",
        show_default=True,
        help="Uncapped chain ends: leave them charged, or add ACE and NME.",
    ),
    click.option(
        "--positions", metavar="FILE", help="Coordinates of a prmtop, top or psf: inpcrd, rst7, gro, crd, pdb or cif."
    ),
    click.option(
        "--parameters", multiple=True, metavar="FILE", help="CHARMM parameters of a psf: prm, rtf or str; repeated."
    ),
    click.option("--system", metavar="XML", help="OpenMM System of the structure, in place of a force field."),
    click.option("--smiles", help="A small molecule, or the bonds and charges of the one in a PDB file."),
    click.option("--strip-salts", is_flag=True, help="Of several small molecules keep the largest."),
)


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


def zero_shot(summary: dict[str, Any]) -> list[str]:
    """What a run's summary says of a model that was not trained on its molecule; empty for other models."""
    record = (summary["model"] or {}).get("zero_shot")
    if record is None:
        return []
    from latentmd.model.manifest import ZeroShot
    from latentmd.model.zero_shot import zero_shot_lines

    frames = sum(summary["frames"])
    sound = 1 - summary["frames_failing_checks"] / frames if frames else None
    return zero_shot_lines(ZeroShot.model_validate(record), summary["molecule"], sound)


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


def show_result(result: RunResult) -> None:
    """A few lines about a finished run."""
    summary = result.summary
    speed, wall = summary["speed"], summary["wall_seconds"]["total"]
    simulated = format_time(summary["simulated_ps"])
    frames = sum(summary["frames"])
    click.echo(f"{summary['walkers']} walkers, {simulated} in all, {frames:,} frames, in {wall:.1f} s")
    if summary["added_atoms"]:
        added = summary["added_atoms"]
        shown = ", ".join(added[:6]) + (f" and {len(added) - 6} more" if len(added) > 6 else "")
        click.echo(f"the PDB file lacked, and got: {shown}")
    if "over_plain_md" in speed:
        click.echo(speed_line(speed))
    if summary["frames_failing_checks"]:
        click.echo(f"frames that fail a check: {summary['frames_failing_checks']}; provenance.csv says which")
    for line in [*summary["notes"], *zero_shot(summary)]:
        click.echo(line)
    files = f"{len(result.trajectories)} trajectories, provenance.csv, summary.json, report.png"
    if (result.folder / "evaluation.html").exists():
        files += ", evaluation.html"
    click.echo(f"wrote {result.folder}/: {files}")
