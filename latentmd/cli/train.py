"""`latentmd train`: trajectories in, bundle out; with `--world`, a toy world in place of trajectories."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from latentmd.cli.common import interrupted
from latentmd.cli.progress import Display


@click.command(
    "train",
    epilog="""\b
Examples:
  latentmd train train/walker-*.xtc --top train/topology.pdb --out my.pt
  latentmd train train/*.xtc --top train/topology.pdb --out my.pt --config my.toml --resume
  latentmd train run/walker-*.xtc --top run/topology.pdb --from peptides --minutes 3 --out mine.pt
  latentmd train runs-of-many-peptides --minutes 600 --out many.pt
  latentmd train train/*.xtc --top train/topology.pdb --paths my.pt --out my.paths.pt
  latentmd train runs-of-many-peptides --paths peptides --out peptides.paths.pt
  latentmd train --world double-pendulum --observe pixels --out pendulum""",
)
@click.argument("trajectories", metavar="TRAJECTORIES... | DATASET", nargs=-1, type=click.Path(path_type=Path))
@click.option("--top", type=click.Path(path_type=Path), help="PDB file of the molecule.")
@click.option("--out", required=True, type=click.Path(path_type=Path),
              help="Bundle to write, such as my.pt; with --world, a folder.")  # fmt: skip
@click.option("--paths", metavar="MODEL",
              help="Train the path model of a finished MODEL, which `latentmd upsample` uses.")  # fmt: skip
@click.option("--world", help="Train on a toy world, such as double-pendulum, instead of TRAJECTORIES.")
@click.option("--observe", help="How the world is seen, such as pixels; the world's first way by default.")
@click.option("--predictor", help="Predictor of the world's latent, such as hamiltonian; the recipe's by default.")
@click.option(
    "--seed",
    type=int,
    help="Seed of training with --world, --from or a DATASET, and of the world's trajectories.  [default: 0]",
)
@click.option("--from", "start", metavar="MODEL", help="Fine-tune this model of many peptides, such as peptides.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True),
              help="Wall time of training on a DATASET, or of fine-tuning and again of the model from scratch.  "
                   "[default: 60; with --from 3]")  # fmt: skip
@click.option("--held-out", multiple=True, type=click.Path(path_type=Path),
              help="With --from: trajectories, or a folder of them, that the models are scored on; the last of "
                   "TRAJECTORIES by default.")  # fmt: skip
@click.option("--scratch/--no-scratch", default=True, show_default=True,
              help="With --from: train a model from scratch on the same frames too, to compare.")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings; defaults otherwise.")
@click.option("--name", default="", help="Name of the model in its manifest; the file's stem by default.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoints of an interrupted training.")
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device to train on.",
)
@click.option("--devices", type=int, default=1, show_default=True, help="Number of GPUs.")
@click.option(
    "--precision",
    type=click.Choice(["32-true", "bf16-mixed"]),
    default="32-true",
    show_default=True,
    help="Of Lightning: single precision, or bfloat16 where that is enough.",
)
@click.pass_context
def train_command(
    ctx: click.Context, trajectories: tuple[Path, ...], top: Path | None, out: Path, paths: str | None,
    world: str | None, observe: str | None, predictor: str | None, seed: int | None, start: str | None,
    minutes: float | None, held_out: tuple[Path, ...], scratch: bool, config: Path | None, name: str, resume: bool,
    overwrite: bool, device: str, devices: int, precision: str,
) -> None:  # fmt: skip
    """Train a surrogate of one molecule from TRAJECTORIES and write it as a bundle.

    Any files that mdtraj reads will do, one per independent run. The log, the loss curves and checkpoints go to
    `<out stem>-training/` beside the bundle. With --from, a model of many peptides is fine-tuned on them instead, and
    what it was, what it became and a model from scratch are scored on frames that are held out.

    A folder in the place of TRAJECTORIES is a data set of many peptides, such as one with a folder for each from
    `latentmd md`: one model of all of them is trained, and scored on some that are held out; with --paths, the path
    model of a MODEL of many peptides.

    With --world, trajectories are simulated, and the model, its figures and a table of measurements are written into
    the folder --out.
    """
    _refuse_mixture(ctx, world)
    if world is not None:
        _train_world(
            world, out, observe=observe, predictor=predictor, seed=seed or 0, config=config, resume=resume,
            overwrite=overwrite,
        )  # fmt: skip
        return
    if len(trajectories) == 1 and trajectories[0].is_dir():
        (_train_many if paths is None else _train_many_paths)(ctx, trajectories[0], out)
        return
    if not trajectories or top is None:
        raise click.UsageError("expected TRAJECTORIES and --top, or --world with the name of a toy world")
    if start is not None:
        _finetune(ctx, trajectories, top, out, overwrite)
        return
    _refuse_given(ctx, ("minutes", "held_out", "scratch", "seed"), "without --from or a DATASET")
    from latentmd.training.config import ConfigError, load_config

    _check_out(ctx, out)
    if paths is not None:
        _train_paths(ctx, (trajectories, top, paths, out), resume)
        return
    try:
        settings = load_config(config)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    from latentmd.training.train import train

    with training_errors(), Display(keep=True) as progress:
        train(
            trajectories, top, out, settings, name=name, resume=resume, device=device, devices=devices,
            precision=precision, report=progress,
        )  # fmt: skip
    click.echo(f"wrote {out}; see it with: latentmd inspect {out}")


@contextmanager
def training_errors(stopped: str = "stopped; run the same line with --resume to go on") -> Iterator[None]:
    """Turn errors of a training into exit codes with one message: 1 for a failure, 130 for Ctrl-C and SIGTERM."""
    from latentmd.training.loop import TrainingError

    try:
        yield
    except KeyboardInterrupt:
        interrupted(stopped)
    except (ValueError, OSError, TrainingError) as error:
        raise click.ClickException(str(error)) from error


def _option(name: str) -> str:
    """How an option of that name is written."""
    return "--from" if name == "start" else f"--{name.replace('_', '-')}"


def _refuse_given(ctx: click.Context, names: tuple[str, ...], where: str) -> None:
    """Refuse options that mean nothing in this kind of training."""
    given = [_option(name) for name in names
             if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]  # fmt: skip
    if given:
        raise click.UsageError(f"{', '.join(given)}: no meaning {where}; leave out one or the other")


def _check_out(ctx: click.Context, out: Path) -> None:
    """Refuse to write over a file, or into a folder that is not there."""
    if out.exists() and not (ctx.params["resume"] or ctx.params["overwrite"]):
        raise click.UsageError(f"{out} exists; pass --overwrite to replace it or --resume to continue its training")
    if not out.parent.is_dir():
        raise click.UsageError(f"{out.parent}: no such folder for the model; create it first")


def _train_many_paths(ctx: click.Context, dataset: Path, out: Path) -> None:
    """Train the path model of a model of many peptides."""
    unused = ("top", "start", "held_out", "scratch", "minutes", "config", "name", "device", "devices", "precision")
    _refuse_given(ctx, unused, "with --paths and a DATASET")
    _check_out(ctx, out)
    from dataclasses import replace

    from latentmd.training.peptides.paths import DEFAULTS, train_peptide_paths

    settings = replace(DEFAULTS, seed=ctx.params["seed"] or 0)
    with training_errors(), Display(keep=True) as progress:
        train_peptide_paths(dataset, ctx.params["paths"], out, settings, resume=ctx.params["resume"], report=progress)
    click.echo(f"wrote {out}; it is found beside the model, as <model>.paths.pt")


def _train_many(ctx: click.Context, dataset: Path, out: Path) -> None:
    """Train a model of many peptides."""
    unused = ("top", "start", "held_out", "scratch", "config", "name", "devices", "precision")
    _refuse_given(ctx, unused, "with a DATASET of many molecules")
    p = ctx.params
    _check_out(ctx, out)
    from latentmd.training.peptides.run import PeptideSettings, train_peptides

    settings = PeptideSettings(minutes=p["minutes"] or 60.0, seed=p["seed"] or 0)
    with training_errors():
        result = train_peptides(dataset, out, settings, resume=p["resume"], device=p["device"], report=click.echo)
    click.echo(result.table())
    click.echo(f"wrote {out}; simulate with it: latentmd simulate PEPTIDE.pdb --model {out}")


def _finetune(ctx: click.Context, trajectories: tuple[Path, ...], top: Path, out: Path, overwrite: bool) -> None:
    """Fine-tune a model of many peptides on one."""
    _refuse_given(ctx, ("config", "name", "resume", "paths", "device", "devices", "precision"), "with --from")
    if out.exists() and not overwrite:
        raise click.UsageError(f"{out} exists; pass --overwrite to replace it")
    from latentmd.training.peptides.finetune import finetune

    p = ctx.params
    with training_errors("stopped; nothing was written"):
        result = finetune(
            trajectories, top, out, start=p["start"], held_out=p["held_out"], minutes=p["minutes"] or 3.0,
            scratch=p["scratch"], seed=p["seed"] or 0, report=click.echo,
        )  # fmt: skip
    click.echo(result.table())
    click.echo(f"wrote {out}; simulate with it: latentmd simulate {top} --model {out}")


def _train_paths(ctx: click.Context, what: tuple[tuple[Path, ...], Path, str, Path], resume: bool) -> None:
    unused = [name for name in ("config", "name", "device", "devices", "precision")
              if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]  # fmt: skip
    if unused:
        raise click.UsageError(f"--{', --'.join(unused)}: no meaning with --paths; leave out one or the other")
    from latentmd.training.paths import train_paths

    trajectories, top, model, out = what
    with training_errors(), Display(keep=True) as progress:
        train_paths(trajectories, top, model, out=out, resume=resume, report=progress)
    click.echo(f"wrote {out}; it is found beside the model, as <model>.paths.pt")


_MOLECULE_ONLY = (
    "paths", "trajectories", "top", "name", "device", "devices", "precision", "start", "minutes", "held_out", "scratch"
)  # fmt: skip
_WORLD_ONLY = ("observe", "predictor")


def _refuse_mixture(ctx: click.Context, world: str | None) -> None:
    """Options of one kind of training given to the other are refused rather than ignored."""
    given = [
        "TRAJECTORIES" if name == "trajectories" else _option(name)
        for name in (_WORLD_ONLY if world is None else _MOLECULE_ONLY)
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        and not (name == "trajectories" and not ctx.params[name])
    ]
    if given and world is None:
        raise click.UsageError(f"{', '.join(given)}: only with --world, which names a toy world")
    if given:
        raise click.UsageError(
            f"{', '.join(given)}: for molecules, not for --world {world}; leave out one or the other"
        )


def _train_world(world: str, out: Path, **options: Any) -> None:
    """Train on a world and show the table; the options are those of `plan_world`."""
    from latentmd.io.atomic import OutputError
    from latentmd.training.config import ConfigError
    from latentmd.worlds.run import plan_world, train_world

    try:
        plan = plan_world(world, out, **options)
    except (ConfigError, OutputError) as error:
        raise click.UsageError(str(error)) from error
    with training_errors(), Display(keep=True) as progress:
        result = train_world(plan, report=progress)
    click.echo(result.table)
    click.echo(f"wrote {out}/: {', '.join(result.files)}")
