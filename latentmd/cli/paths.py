"""`latentmd paths`: transition paths between two structures or two states of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from latentmd.cli.common import Time, input_options, run_errors
from latentmd.cli.progress import Display
from latentmd.units import format_time


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
@click.option("--model", help="Bundled model or path of one. [default: the bundled model that covers the molecule]")
@click.option("--time", type=Time(), default="1ns", show_default=True, help="Length of a path.")
@click.option("--every", type=Time(), default="10ps", show_default=True, help="Time between frames.")
@click.option("--count", type=click.IntRange(min=1), default=100, show_default=True, help="Number of paths.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides all randomness.")
@click.option("--processes", type=click.IntRange(min=1), help="Worker processes. [default: one per core]")
@click.option("--out", type=click.Path(path_type=Path), help="Output folder. [default: <stem of A>-paths]")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in the folder.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder; begins where there is none.")
@input_options
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
            click.echo(f"  {way['share']:.0%} by states {way['states']} ({way['low']:.0%} to {way['high']:.0%})")
        if summary["frames_failing_checks"]:
            click.echo(f"{summary['frames_failing_checks']} frames fail a structure check; provenance.csv says which")
        for note in summary["notes"]:
            click.echo(note)
        names = "path-*.xtc, paths.csv, provenance.csv, summary.json, paths.png, paths.html"
        click.echo(f"wrote {result.folder}/: {names}")
