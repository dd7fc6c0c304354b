"""`latentmd paths`, `upsample` and `inpaint`: what is not given of a trajectory is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import argument, option

from latentmd.cli import options as opt
from latentmd.cli.common import run_errors
from latentmd.cli.progress import Display
from latentmd.units import format_time, percent

if TYPE_CHECKING:
    from latentmd.sampling.paths.fill import FillResult

_TRAJECTORY = [
    argument("trajectory", type=opt.PATH),
    option("--top", required=True, type=opt.PATH, help="PDB file of the trajectory's atoms."),
]


def show_fill(result: FillResult, command: str) -> None:
    """A few lines about a filled trajectory."""
    summary, wall = result.summary, result.summary["wall_seconds"]["total"]
    lines = [
        f"{summary['frames_made']:,} of {summary['frames']:,} frames made, in {wall:.1f} s",
        *result.failing,
        *summary["notes"],
    ]
    names = f"{command}.xtc, topology.pdb, provenance.csv, summary.json, {command}.png, {command}.html"
    click.echo("\n".join([*lines, f"wrote {result.folder}/: {names}"]))


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
@opt.several(_TRAJECTORY)
@option("--residues", required=True, type=Residues(), help="Residues to draw, such as 2,3 or 2-5.")
@option("--design", is_flag=True, help="Also weigh which residues they might be (model of many peptides).")
@opt.several([opt.interval("given frames", "..."), opt.MODEL, *opt.RUN])
def inpaint_command(trajectory: Path, top: Path, residues: tuple[int, ...], **options: Any) -> None:
    """Draw the dynamics of the named residues given that of the others in TRAJECTORY.

    What the file says about the named residues is not looked at. The others keep their coordinates, turned and moved
    onto the structure in --top. Writes inpaint.xtc, topology.pdb, provenance.csv (how each frame was made),
    summary.json, inpaint.png and inpaint.html.

    With --design, which residues the named ones might be is weighed as well, as probabilities (design.csv): one or two
    beside each other, with residues on either side. The model must be one that `latentmd bind` made.
    """
    from latentmd.sampling.paths.inpaint import inpaint

    with run_errors(), Display() as display:
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
@opt.several(_TRAJECTORY)
@opt.shown("--every", type=opt.Time(), default="1ps", help="Time between the frames wanted.")
@opt.several([opt.interval("given frames", "..."), opt.MODEL, *opt.RUN])
def upsample_command(trajectory: Path, top: Path, **options: Any) -> None:
    """Fill in frames between those of TRAJECTORY, so that the fast motion is that of MD.

    The given frames are kept, turned and moved onto the structure in --top. Writes upsample.xtc, topology.pdb,
    provenance.csv (how each frame was made), summary.json, upsample.png and upsample.html.
    """
    from latentmd.sampling.paths.upsample import upsample

    with run_errors(), Display() as display:
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
@argument("pdbs", metavar="[A.pdb [B.pdb]]", nargs=-1, type=opt.PATH)
@option("--from", "origin", type=int, metavar="STATE", help="State of the model where paths begin.")
@option("--to", "target", type=int, metavar="STATE", help="State of the model where paths end.")
@opt.MODEL
@opt.shown("--time", type=opt.Time(), default="1ns", help="Length of a path.")
@opt.shown("--every", type=opt.Time(), default="10ps", help="Time between frames.")
@opt.shown("--count", type=opt.AT_LEAST_ONE, default=100, help="Number of paths.")
@opt.several(opt.RUN)
def paths_command(pdbs: tuple[Path, ...], **options: Any) -> None:
    """Draw full-atom transition paths from A to B, or between metastable states of a model.

    Writes topology.pdb, path-0000.xtc and on, paths.csv (probability, states passed and times of each path),
    provenance.csv (how each frame was made), summary.json, paths.png and paths.html.
    Frames are `latent` (decoded from a latent step), `relaxed` (then minimised) or `given` (A and B themselves).
    """
    from latentmd.sampling.paths.run import paths

    with run_errors(), Display() as display:
        result = paths(*pdbs, progress=display, **options)
    summary, wall = result.summary, result.summary["wall_seconds"]["total"]
    ends, time = " to ".join(summary["ends"]), format_time(summary["time_ps"])
    lines = [f"{summary['paths']} paths from {ends} in {time}, {summary['frames']:,} frames, in {wall:.1f} s"]
    for way in summary["channels"][:4]:
        low, high = percent(way["low"]), percent(way["high"])
        lines.append(f"  {percent(way['share'])} by states {way['states']} ({low} to {high})")
    names = "path-*.xtc, paths.csv, provenance.csv, summary.json, paths.png, paths.html"
    click.echo("\n".join([*lines, *result.failing, *summary["notes"], f"wrote {result.folder}/: {names}"]))
