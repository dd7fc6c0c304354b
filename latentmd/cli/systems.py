"""`latentmd systems` and `latentmd bind`: bundled molecules and models, and a model of many made one of one peptide."""

from __future__ import annotations

from pathlib import Path

import click

from latentmd.cli.common import run_errors


@click.command(
    "bind",
    epilog="""\b
Examples:
  latentmd bind my.pdb --out my.pt
  latentmd bind my.pdb --model finetuned.pt --out my.pt""",
)
@click.argument("pdb", type=click.Path(path_type=Path))
@click.option("--model", default="peptides", show_default=True, help="Model of many peptides, by name or path.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model file to write, such as my.pt.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def bind_command(pdb: Path, model: str, out: Path, overwrite: bool) -> None:
    """Write a model of the peptide in PDB from one of many peptides, without training.

    The file serves OpenMM and ASE integrators, `evaluate` and `simulate` like a model of that molecule alone; it was
    not trained on the molecule, and has no energy.
    """
    from latentmd.model.zero_shot import zero_shot_lines
    from latentmd.sampling.bind import bind_file

    if out.exists() and not overwrite:
        raise click.UsageError(f"{out} exists; pass --overwrite to replace it")
    with run_errors():
        manifest = bind_file(pdb, out, model)
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
@click.option("--path", "name", metavar="NAME", help="Print the path of this molecule's PDB file only.")
def systems_command(name: str | None) -> None:
    """List the bundled molecules, the models, and which model covers which molecule."""
    from latentmd.systems.bundled import bundled, molecules

    if name is None:
        _show(molecules())
        return
    try:
        click.echo(str(bundled(name)))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _show(files: list[Path]) -> None:
    from openmm import app
    from rich.console import Console
    from rich.table import Table

    from latentmd.model.file import bundled_models, read_manifest
    from latentmd.model.manifest import Manifest
    from latentmd.model.peptide_file import NAME, PeptideManifest, read_peptide_manifest
    from latentmd.units import format_time

    manifests: dict[str, Manifest | PeptideManifest] = {model: read_manifest(model) for model in bundled_models()}
    manifests[NAME] = read_peptide_manifest(NAME)
    molecules = Table(title="molecules", title_justify="left", title_style="bold")
    for column in ("name", "residues", "atoms", "model"):
        molecules.add_column(column, justify="right" if column == "atoms" else "left")
    for file in files:
        topology = app.PDBFile(str(file)).topology
        names = "-".join(residue.name for residue in topology.residues())
        models = ", ".join(model for model, manifest in manifests.items() if manifest.covers(topology))
        molecules.add_row(file.stem, names, str(topology.getNumAtoms()), models)
    table = Table(title="models", title_justify="left", title_style="bold")
    for column in ("name", "steps", "temperature", "solvent", "force field"):
        table.add_column(column)
    for model, m in manifests.items():
        steps = f"{format_time(m.lag[0])} to {format_time(m.lag[1])}"
        table.add_row(model, steps, f"{m.temperature:g} K", m.solvent, ", ".join(m.force_field))
    console = Console()
    console.print(molecules)
    console.print(table, highlight=False)
    console.print(f"in {files[0].parent}", highlight=False, soft_wrap=True)
