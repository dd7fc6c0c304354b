"""`latentmd systems` and `latentmd bind`: bundled molecules and models, and a model of many made one of one peptide."""

from __future__ import annotations

from pathlib import Path

import click
from click import argument, option

from latentmd.cli.common import print_table, run_errors
from latentmd.cli.options import PATH
from latentmd.units import format_time


@click.command(
    "bind",
    epilog="""\b
Examples:
  latentmd bind my.pdb --out my.pt
  latentmd bind my.pdb --tilt --out my.pt
  latentmd bind my.pdb --model finetuned.pt --out my.pt""",
)
@argument("pdb", type=PATH)
@option("--model", default="peptides", show_default=True, help="Model of many peptides, by name or path.")
@option("--out", required=True, type=PATH, help="Model file to write, such as my.pt.")
@option("--tilt", is_flag=True, help="Learn weights against drift of rollouts; slower steps, nearer equilibrium.")
@option("--overwrite", is_flag=True, help="Replace an existing file.")
def bind_command(pdb: Path, model: str, out: Path, tilt: bool, overwrite: bool) -> None:
    """Write a model of the peptide in PDB from one of many peptides, without training.

    The file serves OpenMM and ASE integrators, `evaluate` and `simulate` like a model of that molecule alone; it was
    not trained on the molecule, and has no energy.
    """
    from latentmd.model.zero_shot import zero_shot_lines
    from latentmd.sampling.models import bind_file

    if out.exists() and not overwrite:
        raise click.UsageError(f"{out} exists; pass --overwrite to replace it")
    with run_errors():
        manifest = bind_file(pdb, out, model, tilt=tilt)
    assert manifest.zero_shot is not None
    for line in zero_shot_lines(manifest.zero_shot, str(pdb)):
        click.echo(line)
    click.echo(f"wrote {out}")


@click.command(
    "systems",
    epilog="""\b
Examples:
  latentmd systems
  latentmd simulate "$(latentmd systems --path alanine_dipeptide)\"""",
)
@option("--path", "name", metavar="NAME", help="Print the path of this molecule's PDB file only.")
def systems_command(name: str | None) -> None:
    """List the bundled molecules, the models, and which model covers which molecule."""
    from latentmd.systems.bundled import bundled, molecules

    if name is None:
        _show(molecules())
        return
    with run_errors():
        click.echo(str(bundled(name)))


def _show(files: list[Path]) -> None:
    from openmm import app

    from latentmd.model.file import bundled_models, read_manifest
    from latentmd.model.peptide_file import NAME, read_peptide_manifest

    manifests = [(model, read_manifest(model)) for model in bundled_models()] + [(NAME, read_peptide_manifest(NAME))]
    molecules, models = [], []
    for file in files:
        topology = app.PDBFile(str(file)).topology
        names = "-".join(residue.name for residue in topology.residues())
        covering = ", ".join(model for model, manifest in manifests if manifest.covers(topology))
        molecules.append((file.stem, names, str(topology.getNumAtoms()), covering))
    for model, m in manifests:
        steps = f"{format_time(m.lag[0])} to {format_time(m.lag[1])}"
        models.append((model, steps, f"{m.temperature:g} K", m.solvent, ", ".join(m.force_field)))
    print_table("molecules", molecules, ("name", "residues", "atoms", "model"))
    print_table("models", models, ("name", "steps", "temperature", "solvent", "force field"))
    click.echo(f"in {files[0].parent}")
