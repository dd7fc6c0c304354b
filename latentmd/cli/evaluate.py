"""`latentmd evaluate`: trajectories beside reference MD."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click import argument, option

from latentmd.cli.options import AT_LEAST_ONE, PATH, POSITIVE, SELECT, Time, interval, out, settings_of, several, shown
from latentmd.cli.progress import displayed


class SeveralValues(click.Command):
    """A command whose repeatable path options take every value up to the next option, as a shell's glob gives them."""

    several = ("--reference", "--train")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat an option of several values before each of them, then parse as click does."""
        spread: list[str] = []
        current = None
        for position, value in enumerate(args):
            if value.startswith("-"):
                current = value if value in self.several else None
            elif current is not None and args[position - 1] != current:
                spread.append(current)
            spread.append(value)
        return super().parse_args(ctx, spread)


@click.command(
    "evaluate",
    cls=SeveralValues,
    epilog="""\b
Examples:
  latentmd evaluate run/*.xtc --reference md/*.xtc --top md/topology.pdb
  latentmd evaluate run-latentmd --reference md --top md/topology.pdb --resample --lag 100ps
  latentmd evaluate run --reference test --train train --top top.pdb --baseline all
  latentmd evaluate rollouts --reference set        (of several molecules)
  latentmd evaluate --model alanine-dipeptide --reference test --train train --out evaluation""",
)
@several([
    argument("generated", nargs=-1, type=PATH),
    option(
        "--reference", multiple=True, required=True, type=PATH, metavar="REF...",
        help="Reference MD: files, one per independent run, or folders of them.",
    ),
    option("--top", type=PATH, help="PDB file of the molecule; the model's own by default."),
    option(
        "--train", multiple=True, type=PATH, metavar="TRAJ...",
        help="Training trajectories, which baselines are made of and whose states stand beside.",
    ),
    option("--model", help="Evaluate this model's own rollouts (no GENERATED then), encoder, decoder and energies."),
    shown("--lag", type=Time(), default="100ps", help="Lag of TICA and the Markov model."),
    interval(),
    SELECT,
    option("--temperature", type=click.FloatRange(min=1), help="Kelvin. [default: the model's, or 350]"),
    option("--resample", is_flag=True, help="Thin the finer of two frame spacings to the coarser."),
    option(
        "--baseline", "baselines", multiple=True, metavar="NAME",
        help="residue-table, replicate, persistence, msm, shuffled, tica-flow, koopman, all or none; may be repeated. "
        "[default: all with --model, else residue-table where it covers the molecule; with --train also msm, shuffled, "
        "and replicate where the times are known]",
    ),
    shown("--frames", type=click.IntRange(min=100), default=100_000, help="With --model: frames to generate."),
    shown("--walkers", type=AT_LEAST_ONE, default=64, help="With --model: walkers."),
    shown("--seeds", type=AT_LEAST_ONE, default=3, help="With --model: seeds of rollouts."),
    option(
        "--step", type=Time(),
        help="With --model: time of a latent step and between frames. [default: a part of "
        "--lag near twice the model's shortest]",
    ),
    option("--store", is_flag=True, help="With --model: write the metrics into the bundle, for `latentmd inspect`."),
    option("--wall-time", type=POSITIVE, help="Seconds that GENERATED took; gives effective samples per second."),
    option("--md-speed", type=POSITIVE, help="Plain MD of this molecule here in ps/s, for the replicate baseline."),
    shown("--seed", type=int, default=0, help="Decides all randomness."),
    out("evaluation"),
    option("--overwrite", is_flag=True, help="Replace an earlier evaluation in the folder."),
    option("--processes", type=AT_LEAST_ONE, help="Data sets: worker processes. [default: one per core]"),
    option("--scheduler", metavar="ADDRESS", help="Data sets: Dask scheduler that scores them, tcp://host:port."),
    settings_of("latentmd.evaluation.inputs:EvaluationSettings"),
])  # fmt: skip
def evaluate_command(generated: tuple[Path, ...], model: str | None, store: bool, **options: Any) -> None:
    """Compare GENERATED trajectories with reference MD: structure, thermodynamics, kinetics, each beside its floor.

    Writes evaluation.json and evaluation.html, a page that opens offline, to the output folder.

    Where GENERATED and REF are each the folder of a data set, as `latentmd simulate` and `latentmd md` make of several
    molecules, each molecule is evaluated, and scores.json holds what was found.
    """
    from latentmd.sampling.scores import is_data_set

    many = {name: options.pop(name) for name in ("processes", "scheduler")}
    if len(generated) == 1 and model is None and is_data_set(generated[0]):
        _data_set(generated[0], options, many)
        return
    for name in (name for name, value in many.items() if value is not None):
        raise click.UsageError(f"--{name} is for data sets; GENERATED is not the folder of one")
    if bool(generated) == bool(model):
        raise click.UsageError("name either GENERATED trajectories or --model, whose rollouts are then evaluated")
    if store and model is None:
        raise click.UsageError("--store writes metrics into a model; it needs --model")
    if model is None and options["top"] is None:
        raise click.UsageError("--top is missing: the PDB file of the molecule")
    settings, out = options["settings"], options["out"]
    if model is not None and settings.select:
        raise click.UsageError("--select is for GENERATED trajectories; with --model, REF holds its molecule alone")
    chosen = settings.baselines or (("all",) if model else ("auto",))
    settings = replace(settings, baselines=() if "none" in chosen else chosen)
    with displayed("stopped before the evaluation was complete; nothing was written") as stages:
        run = options | {"settings": settings, "progress": stages}
        if model is None:
            from latentmd.evaluation.evaluate import evaluate

            result = evaluate(generated, **run)
        else:
            from latentmd.evaluation.model import evaluate_model, store_metrics

            result = evaluate_model(model, **run)
            if store:
                store_metrics(model, result)
    from latentmd.report.tables import print_tables

    print_tables("Evaluation", result.metrics, result.baselines, result.notes)
    click.echo(f"wrote {out / 'evaluation.json'} and {out / 'evaluation.html'}")


def _data_set(generated: Path, options: dict[str, Any], many: dict[str, Any]) -> None:
    """Evaluate the molecules of a data set, and print a table of them."""
    from latentmd.analysis.metric import SHARE
    from latentmd.cli.common import print_table
    from latentmd.report.tables import cell
    from latentmd.sampling.scores import evaluate_data_set, is_data_set

    references, settings = options.pop("reference"), options.pop("settings")
    for name in ("top", "train"):
        if options.pop(name):
            raise click.UsageError(f"--{name} belongs to one molecule; leave it out, or evaluate that one by itself")
    if len(references) != 1 or not is_data_set(references[0]):
        raise click.UsageError(f"{generated} is a data set; --reference must be the folder of one too")
    settings = replace(settings, baselines=() if "none" in settings.baselines else settings.baselines or ("auto",))
    with displayed("stopped before all molecules were evaluated") as stages:
        found = evaluate_data_set(generated, references[0], settings=settings, progress=stages, **options, **many)
    shown = {"JS distance, torsions (all)": "", "JS distance, TICA-0": "", "frames, all checks": SHARE}
    rows = [(name, *(cell(found.value(name, one), unit) for one, unit in shown.items())) for name in found.metrics]
    rows.append(("median", *(cell(found.median(one), unit) for one, unit in shown.items())))
    print_table("Evaluation", rows, ("molecule", *shown))
    for name, reason in found.failed.items():
        click.echo(f"not evaluated: {name}: {reason}")
    click.echo(f"wrote {found.folder}/: scores.json, and a folder for each molecule with its page")
