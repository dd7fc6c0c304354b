"""`latentmd md`: plain MD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from latentmd.cli.common import Time, WallTime, input_options, run_errors, show_result
from latentmd.cli.progress import Display


@click.command(
    "md",
    epilog="""\b
Examples:
  latentmd md my.pdb --time 100ns --out my-md
  latentmd md my.pdb --time 60ns --walkers 8 --save-every 1ps --seed 1 --out train
  latentmd md a.pdb b.pdb peptides/ --time 10ns --save-every 10ps --walkers 16 --out set
  latentmd md my.pdb --time 1ns --solvent explicit --temperature 300 --out wet
  latentmd md ligand.pdb --time 1ns --force-field gaff.xml --solvent vacuum --out dry
  latentmd md my.prmtop --positions my.inpcrd --time 10ns --out amber
  latentmd md topol.top --positions conf.gro --solvent explicit --time 1ns --out gromacs
  latentmd md my.psf --positions my.crd --parameters all.prm --parameters all.rtf --time 10ns --out charmm
  latentmd md my.pdb --system system.xml --time 10ns --out own""",
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--time", type=Time(), required=True, help="Simulated time per walker, such as 100ns.")
@click.option("--wall", type=WallTime(), help="Wall time over all sessions, such as 30min. [default: any]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Output folder.")
@click.option("--walkers", type=click.IntRange(min=1), default=4, show_default=True, help="Independent runs.")
@click.option("--save-every", type=Time(), default="1ps", show_default=True, help="Time between frames.")
@click.option("--temperature", type=float, default=350.0, show_default=True, help="Kelvin.")
@click.option(
    "--solvent",
    type=click.Choice(["implicit", "vacuum", "explicit"]),
    default="implicit",
    show_default=True,
    help="Explicit: at constant volume, water from the PDB file or added.",
)
@click.option(
    "--force-field",
    multiple=True,
    metavar="XML",
    help="OpenMM force-field XML, may be repeated. [default: ff14SB, with OBC2 or TIP3P]",
)
@click.option("--friction", type=float, default=1.0, show_default=True, help="Of the Langevin thermostat, 1/ps.")
@click.option("--timestep", type=Time(), default="4fs", show_default=True, help="At most 5fs.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides all randomness.")
@click.option("--processes", type=click.IntRange(min=1), help="Worker processes. [default: one per core]")
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler that runs a data set, tcp://host:port.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in the folder.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder; begins where there is none.")
@input_options
def md_command(files: tuple[Path, ...], scheduler: str | None, **options: Any) -> None:
    """Simulate the molecule in FILE with plain full-atom MD, several walkers in parallel.

    FILE is a PDB, mmCIF or GRO file, or one that brings its own force field: an Amber prmtop, GROMACS top or CHARMM psf
    with --positions, or a PDB or mmCIF file with --system.

    Each walker is minimised and equilibrated for 100 ps before time zero. Writes the same files as `latentmd simulate`.

    Several FILEs, or a folder of them, become one data set: a folder for each molecule and manifest.json, which lists
    what was made and what failed. With --resume, more files may be added.
    """
    if len(files) > 1 or files[0].is_dir():
        _data_set(files, scheduler, options)
        return
    if scheduler is not None:
        raise click.UsageError("--scheduler runs the molecules of a data set; give several files or a folder")
    from latentmd.sampling.run.clock import process_start
    from latentmd.sampling.walkers.md import md

    pdb = files[0]
    with run_errors():
        with Display(picoseconds=True) as progress:
            result = md(pdb, progress=progress, begun=process_start(), **options)
        show_result(result)
        top = result.topology
    click.echo(f"engine: {result.summary['engine']}")
    click.echo(f"train a model from it: latentmd train {result.folder}/walker-*.xtc --top {top} --out {pdb.stem}.pt")


def _data_set(files: tuple[Path, ...], scheduler: str | None, options: dict[str, Any]) -> None:
    from latentmd.sampling.walkers.data_set import md_data_set
    from latentmd.units import format_time

    with run_errors(), Display(picoseconds=True) as progress:
        result = md_data_set(files, scheduler=scheduler, progress=progress, **options)
    made = result.manifest["molecules"]
    time = sum(sum(row["frames"]) for row in made) * result.manifest["frame_interval_ps"]
    click.echo(f"{len(made)} molecule{'s' * (len(made) > 1)}, {format_time(time)} in all")
    if result.failed:
        click.echo(f"failed: {', '.join(result.failed)}; manifest.json has the reasons")
    click.echo(f"wrote {result.folder}/: manifest.json and a folder for each molecule")
