"""`latentmd upsample`: frames drawn between those of a trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from latentmd.cli.common import Time, input_options, run_errors
from latentmd.cli.fill import fill_options, show_fill
from latentmd.cli.progress import Display


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
@fill_options
@input_options
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
