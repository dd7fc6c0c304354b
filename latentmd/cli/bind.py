"""`latentmd bind`: a model of many peptides in, a model of one out."""

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
