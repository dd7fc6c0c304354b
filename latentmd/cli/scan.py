"""`latentmd scan`: profiles of the bonds of a molecule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click import argument, option

from latentmd.cli import options as opt
from latentmd.cli.common import run_errors
from latentmd.cli.progress import Display


@click.command(
    "scan",
    epilog="""\b
Examples:
  latentmd scan ligand.sdf --bond 4-5 --solvent vacuum
  latentmd scan --smiles "CC(=O)Oc1ccccc1C(=O)O" --name aspirin --wall 3min
  latentmd scan my.pdb --bond "phi ALA2" --bond "psi ALA2" --relaxed-only
  latentmd scan ligand.prmtop --positions ligand.inpcrd --bond 4-5 --step 10""",
)
@opt.several([
    argument("file", metavar="[FILE]", required=False, type=opt.PATH),
    option("--bond", "bonds", multiple=True, help="Such as 4-5, or 'phi ALA2'. [default: all that exact chains turn]"),
    opt.shown("--step", type=float, default=15.0, help="Degrees between angles; a divisor of 60."),
    option("--relaxed-only", is_flag=True, help="No exact chains, and no free energies."),
    option("--wall", type=opt.WallTime(), help="Wall time of everything, over all sessions. [default: 10min]"),
    option("--temperature", type=float, help="Of free energies, kelvin. [default: the model's, or 300]"),
    option("--solvent", type=click.Choice(["implicit", "vacuum"]), help="[default: the model's, or implicit]"),
    opt.FORCE_FIELD(help="As of `latentmd simulate`, may be repeated."),
    opt.MODEL,
    option("--scheduler", metavar="ADDRESS", help="Dask scheduler that runs chains, tcp://host:port."),
    opt.NAME,
    *opt.RUN,
])  # fmt: skip
def scan_command(file: Path | None, name: str | None, **options: Any) -> None:
    """Scan bonds of the molecule in FILE: the lowest energy at each angle, and the free energy with its error.

    FILE is as of `latentmd simulate`. A bond is named by its two atoms, numbered from 1 as in the file, or by its
    torsion; --bond may be repeated. Writes scan.csv (profiles in kJ/mol and kcal/mol), scan.html, scan.png, relaxed
    structures in scan.xtc and topology.pdb, of small molecules scan.sdf and bonds.png (drawing with numbered atoms),
    chains/ (the exact chains that free energies come from, and their page) and summary.json.
    """
    from latentmd.sampling.run.clock import process_start
    from latentmd.sampling.scan import scan

    source = opt.source_of(file, name, options["inputs"].smiles)
    with run_errors(), Display() as display:
        result = scan(source, progress=display, begun=process_start(), **options)
    for title, highest in result.summary["highest_kJ_per_mol"].items():
        found = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in highest.items())
        click.echo(f"{title}: highest {found} kJ/mol")
    if result.summary["missing"]:
        click.echo("free energies are provisional or not there; more with --resume and a longer --wall")
    click.echo(f"wrote {result.folder}/: scan.csv, scan.html, scan.png, summary.json, ...")
