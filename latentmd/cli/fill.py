"""Shared by the commands that fill in a trajectory: options, and the lines at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentmd.cli.common import Time

if TYPE_CHECKING:
    from latentmd.sampling.paths.fill import FillResult

_OPTIONS = (
    click.option("--interval", type=Time(), help="Time between given frames, for files without times (DCD, XYZ, ...)."),
    click.option("--model", help="Bundled model or path of one. [default: the bundled model that covers the molecule]"),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides all randomness."),
    click.option("--processes", type=click.IntRange(min=1), help="Worker processes. [default: one per core]"),
    click.option("--out", type=click.Path(path_type=Path), help="Output folder. [default: <stem>-<command>]"),
    click.option("--overwrite", is_flag=True, help="Replace an earlier run in the folder."),
    click.option("--resume", is_flag=True, help="Go on with the run in the folder; begins where there is none."),
)


def fill_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every command that fills in a trajectory."""
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
        click.echo(f"{summary['frames_failing_checks']} frames fail a structure check; provenance.csv says which")
    names = f"{command}.xtc, topology.pdb, provenance.csv, summary.json, {command}.png, {command}.html"
    click.echo(f"wrote {result.folder}/: {names}")
