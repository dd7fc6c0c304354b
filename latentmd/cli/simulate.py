"""`latentmd simulate`: a PDB file in, trajectories out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from latentmd.cli.common import SimulationProgress, Time, run_errors, show_result


@click.command(
    "simulate",
    epilog="""\b
Examples:
  latentmd simulate systems/molecules/alanine_dipeptide.pdb
  latentmd simulate my.pdb --model my.pt --time 100ns --walkers 64 --seed 7
  latentmd simulate my.pdb --mode latent --time 1us --save-every 1ns --out long
  latentmd simulate my.pdb --mode md --time 1ns --temperature 300""",
)
@click.argument("pdb", type=click.Path(path_type=Path))
@click.option("--model", help="Bundled model or path of one. [default: the bundled model that covers the molecule]")
@click.option("--time", type=Time(), default="10ns", show_default=True, help="Simulated time per walker.")
@click.option("--walkers", type=click.IntRange(min=1), default=16, show_default=True, help="Independent runs.")
@click.option(
    "--mode",
    type=click.Choice(["alternate", "latent", "md"]),
    default="alternate",
    show_default=True,
    help="Latent steps and MD by turns, latent steps only, or plain MD.",
)
@click.option("--temperature", type=float, help="Kelvin; must be the model's, except with --mode md.")
@click.option("--save-every", type=Time(), default="100ps", show_default=True, help="Time between frames.")
@click.option("--cycle", type=Time(), help="Alternation: time from one MD burst to the next. [default: about 1ns]")
@click.option("--burst", type=Time(), default="2ps", show_default=True, help="Alternation: MD at the end of a cycle.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides all randomness.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the model runs.",
)
@click.option(
    "--solvent",
    type=click.Choice(["implicit", "vacuum", "explicit"]),
    help="Must be the model's, except with --mode md. [default: the model's, or implicit]",
)
@click.option(
    "--force-field",
    multiple=True,
    metavar="XML",
    help="OpenMM force-field XML, may be repeated; must be the model's, except with --mode md.",
)
@click.option("--processes", type=click.IntRange(min=1), help="Worker processes. [default: one per core]")
@click.option("--out", type=click.Path(path_type=Path), help="Output folder. [default: <stem>-latentmd]")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in the folder.")
def simulate_command(pdb: Path, **options: Any) -> None:
    """Simulate the molecule in PDB with a model and write full-atom trajectories.

    Writes topology.pdb, walker-0000.xtc and on, provenance.csv (how each frame was made), summary.json, report.png and
    evaluation.html (metrics, figures and a 3-D view, beside the model's training data).
    Frames are `latent` (decoded from a latent step), `relaxed` (minimised after one, then moved by MD) or `md`.
    """
    from latentmd.workflows.simulate import simulate

    with run_errors():
        with SimulationProgress() as progress:
            result = simulate(pdb, progress=progress, **options)
        show_result(result)
