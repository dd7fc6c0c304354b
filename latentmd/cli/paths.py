"""`latentmd paths`, `upsample` and `inpaint`: what is not given of a trajectory is drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latentmd.cli.common import Time, input_options, run_errors
from latentmd.cli.progress import Display
from latentmd.units import format_time, percent

if TYPE_CHECKING:
    from latentmd.sampling.paths.fill import FillResult

_INTERVAL = click.option(
    "--interval", type=Time(), help="Time between given frames, for files without times (DCD, XYZ, ...)."
)
_OPTIONS = (
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides all randomness."),
    click.option("--processes", type=click.IntRange(min=1), help="Worker processes. [default: one per core]"),
    click.option("--out", type=click.Path(path_type=Path), help="Output folder. [default: <stem>-<command>]"),
    click.option("--overwrite", is_flag=True, help="Replace an earlier run in the folder."),
    click.option("--resume", is_flag=True, help="Go on with the run in the folder; begins where there is none."),
    input_options,
)
_MODEL = click.option(
    "--model", help="Bundled model or path of one. [default: the bundled model that covers the molecule]"
)


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that all three commands have, at the end of their own."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def show_fill(result: FillResult, command: str) -> None:
    """A few lines about a filled trajectory."""
    summary = result.summary
    click.echo(
        f"{summary['frames_made']:,} of {summary['frames']:,} frames made, in {summary['wall_seconds']['total']:.1f} s"
    )
    if summary["frames_failing_checks"]:
        click.echo(f"frames that fail a check: {summary['frames_failing_checks']}; provenance.csv says which")
    names = f"{command}.xtc, topology.pdb, provenance.csv, summary.json, {command}.png, {command}.html"
    click.echo(f"wrote {result.folder}/: {names}")


class Residues(click.ParamType[tuple[int, ...]]):
    """Numbers of residues, such as 2,3 or 2-5."""

    name = "residues"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers, sorted."""
        if isinstance(value, tuple):
            return value
        numbers: set[int] = set()
        for part in str(value).split(","):
            first, dash, last = part.strip().partition("-")
            if not first.isdecimal() or (dash and (not last.isdecimal() or int(last) < int(first))):
                self.fail(f"{value!r} names no residues; expected numbers such as 2,3 or 2-5", param, ctx)
            numbers |= set(range(int(first), int(last or first) + 1))
        return tuple(sorted(numbers))


@click.command(
    "inpaint",
    epilog="""\b
Examples:
  latentmd inpaint walker-0000.xtc --top topology.pdb --residues 2
  latentmd inpaint run.dcd --interval 10ps --top my.pdb --model my.pt --residues 2,3 --out drawn
  latentmd inpaint run.xtc --top my.pdb --model my.pt --residues 2,3 --design""",
)
@click.argument("trajectory", type=click.Path(path_type=Path))
@click.option("--top", required=True, type=click.Path(path_type=Path), help="PDB file of the trajectory's atoms.")
@click.option("--residues", required=True, type=Residues(), help="Residues to draw, such as 2,3 or 2-5.")
@click.option("--design", is_flag=True, help="Also weigh which residues they might be (model of many peptides).")
@_INTERVAL
@_MODEL
@run_options
def inpaint_command(trajectory: Path, top: Path, residues: tuple[int, ...], **options: Any) -> None:
    """Draw the dynamics of the named residues given that of the others in TRAJECTORY.

    What the file says about the named residues is not looked at. The others keep their coordinates, turned and moved
    onto the structure in --top. Writes inpaint.xtc, topology.pdb, provenance.csv (how each frame was made),
    summary.json, inpaint.png and inpaint.html.

    With --design, which residues the named ones might be is weighed as well, as probabilities (design.csv): one or two
    beside each other, with residues on either side. The model must be one that `latentmd bind` made.
    """
    from latentmd.sampling.paths.inpaint import inpaint

    with run_errors():
        with Display() as display:
            result = inpaint(trajectory, top, residues, progress=display, **options)
        show_fill(result, "inpaint")
        for number, name in result.summary.get("design", {}).items():
            click.echo(f"residue {number} is most likely {name}; design.csv has all probabilities")


@click.command(
    "upsample",
    epilog="""\b
Examples:
  latentmd upsample walker-0000.xtc --top topology.pdb --every 1ps
  latentmd upsample run.dcd --interval 10ps --top my.pdb --model my.pt --every 2ps --out fine""",
)
@click.argument("trajectory", type=click.Path(path_type=Path))
@click.option("--top", required=True, type=click.Path(path_type=Path), help="PDB file of the trajectory's atoms.")
@click.option("--every", type=Time(), default="1ps", show_default=True, help="Time between the frames wanted.")
@_INTERVAL
@_MODEL
@run_options
def upsample_command(trajectory: Path, top: Path, **options: Any) -> None:
    """Fill in frames between those of TRAJECTORY, so that the fast motion is that of MD.

    The given frames are kept, turned and moved onto the structure in --top. Writes upsample.xtc, topology.pdb,
    provenance.csv (how each frame was made), summary.json, upsample.png and upsample.html.
    """
    from latentmd.sampling.paths.upsample import upsample

    with run_errors():
        with Display() as display:
            result = upsample(trajectory, top, progress=display, **options)
        show_fill(result, "upsample")


@click.command(
    "paths",
    epilog="""\b
Examples:
  latentmd paths A.pdb B.pdb --time 1ns --every 10ps --count 100 --out paths
  latentmd paths A.pdb --to 3
  latentmd paths --model alanine-dipeptide --from 1 --to 3 --count 1000
  latentmd paths --model alanine-dipeptide            (lists the states of the model)""",
)
@click.argument("pdbs", metavar="[A.pdb [B.pdb]]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--from", "origin", type=int, metavar="STATE", help="State of the model where paths begin.")
@click.option("--to", "target", type=int, metavar="STATE", help="State of the model where paths end.")
@_MODEL
@click.option("--time", type=Time(), default="1ns", show_default=True, help="Length of a path.")
@click.option("--every", type=Time(), default="10ps", show_default=True, help="Time between frames.")
@click.option("--count", type=click.IntRange(min=1), default=100, show_default=True, help="Number of paths.")
@run_options
def paths_command(pdbs: tuple[Path, ...], **options: Any) -> None:
    """Draw full-atom transition paths from A to B, or between metastable states of a model.

    Writes topology.pdb, path-0000.xtc and on, paths.csv (probability, states passed and times of each path),
    provenance.csv (how each frame was made), summary.json, paths.png and paths.html.
    Frames are `latent` (decoded from a latent step), `relaxed` (then minimised) or `given` (A and B themselves).
    """
    from latentmd.sampling.paths.run import paths

    with run_errors():
        with Display() as display:
            result = paths(*pdbs, progress=display, **options)
        summary = result.summary
        frames = summary["frames"]
        click.echo(
            f"{summary['paths']} paths from {summary['ends'][0]} to {summary['ends'][1]} in "
            f"{format_time(summary['time_ps'])}, {frames:,} frames, in {summary['wall_seconds']['total']:.1f} s"
        )
        for way in summary["channels"][:4]:
            click.echo(
                f"  {percent(way['share'])} by states {way['states']} ({percent(way['low'])} to {percent(way['high'])})"
            )
        if summary["frames_failing_checks"]:
            click.echo(f"frames that fail a check: {summary['frames_failing_checks']}; provenance.csv says which")
        for note in summary["notes"]:
            click.echo(note)
        names = "path-*.xtc, paths.csv, provenance.csv, summary.json, paths.png, paths.html"
        click.echo(f"wrote {result.folder}/: {names}")
