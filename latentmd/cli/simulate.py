"""`latentmd simulate`: a PDB file in, trajectories out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from latentmd.cli.common import SimulationProgress, Time, WallTime, run_errors, show_result

#: Levels of `--exactness`; see latentmd.sampling.exactness.
LEVELS = ("raw", "relaxed", "gated", "reweighted", "metropolised")


@click.command(
    "simulate",
    epilog="""\b
Examples:
  latentmd simulate systems/molecules/alanine_dipeptide.pdb
  latentmd simulate my.pdb --model my.pt --time 100ns --walkers 64 --seed 7
  latentmd simulate my.pdb --mode latent --time 1us --save-every 1ns --out long
  latentmd simulate my.pdb --mode md --time 1ns --temperature 300
  latentmd simulate my.pdb --mode hybrid --wall 30min --resume --out sampled
  latentmd simulate ligand.pdb --force-field ligand.xml --solvent vacuum --mode hybrid --wall 30min
  latentmd simulate my.pdb --exactness metropolised --wall 10min""",
)
@click.argument("pdb", type=click.Path(path_type=Path))
@click.option("--model", help="Bundled model or path of one. [default: the bundled model that covers the molecule]")
@click.option(
    "--time",
    type=Time(),
    help="Simulated time per walker; of all bursts together with --mode hybrid. [default: 10ns; hybrid: 100ns]",
)
@click.option("--wall", type=WallTime(), help="Hybrid: wall time over all sessions, such as 30min. [default: any]")
@click.option("--walkers", type=click.IntRange(min=1), default=16, show_default=True, help="Independent runs.")
@click.option(
    "--mode",
    type=click.Choice(["alternate", "latent", "md", "hybrid"]),
    help="Latent steps and MD by turns, latent steps only, plain MD, or surrogate proposals with unbiased bursts. "
    "[default: alternate where a model covers the molecule, else hybrid]",
)
@click.option(
    "--exactness",
    type=click.Choice(LEVELS),
    help="Hybrid: how far the result can be trusted, and what that costs; see docs/hybrid.md. [default: reweighted]",
)
@click.option("--temperature", type=float, help="Kelvin; must be the model's, except with --mode md or hybrid.")
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
@click.option("--scheduler", metavar="ADDRESS", help="Hybrid: Dask scheduler that runs the bursts, tcp://host:port.")
@click.option("--out", type=click.Path(path_type=Path), help="Output folder. [default: <stem>-latentmd, or -hybrid]")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in the folder.")
@click.option("--resume", is_flag=True, help="Hybrid: go on with the run in the folder; begins where there is none.")
def simulate_command(pdb: Path, **options: Any) -> None:
    """Simulate the molecule in PDB with a model and write full-atom trajectories.

    Writes topology.pdb, walker-0000.xtc and on, provenance.csv (how each frame was made), summary.json, report.png and
    evaluation.html (metrics, figures and a 3-D view, beside the model's training data).
    Frames are `latent` (decoded from a latent step), `relaxed` (minimised after one, then moved by MD) or `md`.
    """
    with run_errors():
        mode = _mode(pdb, options)
        level = options.pop("exactness")
        if mode == "hybrid":
            _hybrid(pdb, level or "reweighted", options)
        else:
            _simulate(pdb, mode, options)


def _mode(pdb: Path, options: dict[str, Any]) -> str:
    """The mode asked for, or the one that suits the molecule."""
    mode, level = options.pop("mode"), options["exactness"]
    if level is not None:
        if mode not in (None, "hybrid"):
            raise click.UsageError(f"--exactness has no meaning with --mode {mode}; leave one of them out")
        return "hybrid"
    if mode is not None:
        return str(mode)
    if options["model"] is not None:
        return "alternate"
    from latentmd.sampling.choice import without_model

    reason = without_model(pdb, options["solvent"], tuple(options["force_field"]))
    if reason is None:
        return "alternate"
    click.echo(reason, err=True)
    return "hybrid"


def _hybrid(pdb: Path, level: str, options: dict[str, Any]) -> None:
    from latentmd.cli.hybrid import run_hybrid

    _refuse(options, "hybrid", {"walkers": 16, "save_every": 100.0, "cycle": None, "burst": 2.0})
    budgets = {"reweighted": {}, "metropolised": {"time": None}}.get(level, {"time": None, "wall": None})
    _refuse(options, f"hybrid --exactness {level}", budgets)
    options = {"time": None, "wall": None, **options}
    device = "cpu" if options["device"] == "auto" else options["device"]
    time = 100_000.0 if options["time"] is None else options["time"]
    run_hybrid(pdb, **{**options, "device": device, "time": time, "exactness": level})


def _simulate(pdb: Path, mode: str, options: dict[str, Any]) -> None:
    from latentmd.sampling.rollout.simulate import simulate

    _refuse(options, mode, {"wall": None, "scheduler": None, "resume": False})
    time = "10ns" if options["time"] is None else options["time"]
    with SimulationProgress() as progress:
        result = simulate(pdb, progress=progress, **{**options, "mode": mode, "time": time})
    show_result(result)


def _refuse(options: dict[str, Any], mode: str, unused: dict[str, Any]) -> None:
    """Take options out that a mode has no use for; refuse them where they were given."""
    for name, default in unused.items():
        if options.pop(name) != default:
            raise click.UsageError(f"--{name.replace('_', '-')} has no meaning with --mode {mode}; leave it out")
