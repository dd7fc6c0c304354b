"""`latentmd md`: plain MD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click import argument, option

from latentmd.cli import options as opt
from latentmd.cli.common import run_errors
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
@opt.several([
    argument("files", metavar="FILE...", nargs=-1, required=True, type=opt.PATH),
    option("--time", type=opt.Time(), required=True, help="Simulated time per walker, such as 100ns."),
    option("--wall", type=opt.WallTime(), help="Wall time over all sessions, such as 30min. [default: any]"),
    option("--out", type=opt.PATH, required=True, help="Output folder."),
    opt.shown("--walkers", type=opt.AT_LEAST_ONE, default=4, help="Independent runs."),
    opt.shown("--save-every", type=opt.Time(), default="1ps", help="Time between frames."),
    opt.shown("--temperature", type=float, default=350.0, help="Kelvin."),
    opt.shown(
        "--solvent", type=click.Choice(["implicit", "vacuum", "explicit"]), default="implicit",
        help="Explicit: at constant volume, water from the PDB file or added.",
    ),
    opt.FORCE_FIELD(help="OpenMM force-field XML, may be repeated. [default: ff14SB, with OBC2 or TIP3P]"),
    opt.shown("--friction", type=float, default=1.0, help="Of the Langevin thermostat, 1/ps."),
    opt.shown("--timestep", type=opt.Time(), default="4fs", help="At most 5fs."),
    opt.SEED,
    opt.PROCESSES,
    option("--scheduler", metavar="ADDRESS", help="Dask scheduler that runs a data set, tcp://host:port."),
    *opt.AGAIN,
    *opt.BOX,
    *opt.INPUTS,
])  # fmt: skip
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
    from latentmd.sampling.walkers.page import told

    pdb = files[0]
    with run_errors():
        with Display(picoseconds=True) as progress:
            result = md(pdb, progress=progress, begun=process_start(), **options)
        click.echo("\n".join(told(result)))
        top = result.topology
    click.echo(f"engine: {result.summary['engine']}")
    click.echo(f"train a model from it: latentmd train {result.folder}/walker-*.xtc --top {top} --out {pdb.stem}.pt")


def _data_set(files: tuple[Path, ...], scheduler: str | None, options: dict[str, Any]) -> None:
    from latentmd.sampling.walkers.data_set import md_data_set

    with run_errors(), Display(picoseconds=True) as progress:
        result = md_data_set(files, scheduler=scheduler, progress=progress, **options)
    click.echo("\n".join(result.told))
