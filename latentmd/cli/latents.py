"""`latentmd latents`: what a model's latent looks like on a trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click import argument, option

from latentmd.cli.options import PATH, TOP, Time, interval, out, settings_of, shown
from latentmd.cli.progress import displayed

if TYPE_CHECKING:
    from latentmd.evaluation.latents import LatentSettings


@click.command(
    "latents",
    epilog="""\b
Examples:
  latentmd latents md/*.xtc --top md/topology.pdb --model alanine-dipeptide
  latentmd latents test --top top.pdb --model my.pt --lag 50ps --out my-latents""",
)
@argument("trajectories", nargs=-1, required=True, type=PATH)
@TOP
@option("--model", required=True, help="Bundle or bundled model.")
@option("--lag", type=Time(), help="Lag of VAMP-2. [default: the model's shortest step]")
@interval()
@shown("--frames", type=click.IntRange(min=100), default=40_000, help="Most frames encoded, all runs together.")
@shown("--vampnet-seconds", "seconds", type=click.FloatRange(min=0), default=20.0, help="Training time of the VAMPnet.")
@shown("--seed", type=int, default=0, help="Decides all randomness.")
@out("latents")
@option("--overwrite", is_flag=True, help="Replace an earlier result in the folder.")
@settings_of("latentmd.evaluation.latents:LatentSettings")
def latents_command(
    trajectories: tuple[Path, ...], top: Path, model: str, out: Path, overwrite: bool, settings: LatentSettings
) -> None:
    """Encode TRAJECTORIES with a model and describe its latent.

    Effective rank, linear probes of torsions and energy, VAMP-2 beside TICA and a VAMPnet on the same data, and PCA and
    UMAP coloured by time, torsion and energy. Writes latents.json and latents.html.
    """
    from latentmd.evaluation.latents import latents
    from latentmd.report.tables import print_tables

    with displayed("stopped before all was encoded; nothing was written") as stages:
        document = latents(trajectories, top, model, out=out, settings=settings, overwrite=overwrite, progress=stages)
    notes = [m.note for m in document["metrics"] if m.name.startswith("VAMP-2")]
    print_tables(f"Latent of {model}", document["metrics"], {}, [*notes, *document["notes"]])
    click.echo(f"wrote {out / 'latents.json'} and {out / 'latents.html'}")
