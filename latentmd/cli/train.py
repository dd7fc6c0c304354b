"""`latentmd train`: trajectories in, model out. One command for each kind of training, with its own options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click import argument, option

from latentmd.cli.common import interrupted
from latentmd.cli.options import NOT_NEGATIVE, PATH, POSITIVE, SELECT, TOP, device, interval, several, shown
from latentmd.cli.progress import Display

#: Options that were those of `latentmd train` itself, and the commands that took their place.
_MOVED = {
    "--world": "latentmd train world NAME --out FOLDER",
    "--from": "latentmd train finetune TRAJECTORIES --top PDB --from MODEL --out FILE",
    "--paths": "latentmd train paths TRAJECTORIES --top PDB --model MODEL --out FILE",
}


class TrainGroup(click.Group):
    """A group whose command `molecule` need not be named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order in which they are written here."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name of the command in where it was left out."""
        for name in (arg.split("=")[0] for arg in args):
            if name in _MOVED and args[0] not in self.commands:
                raise click.UsageError(f"{name} has become a command of its own: {_MOVED[name]}", ctx)
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["molecule", *args]
        return super().parse_args(ctx, args)


@click.group(
    "train",
    cls=TrainGroup,
    epilog="""\b
Examples:
  latentmd train train/walker-*.xtc --top train/topology.pdb --out my.pt
  latentmd train peptides runs-of-many-peptides --minutes 600 --out many.pt
  latentmd train finetune run/walker-*.xtc --top run/topology.pdb --from peptides --out mine.pt
  latentmd train paths train/*.xtc --top train/topology.pdb --model my.pt --out my.paths.pt
  latentmd train world double-pendulum --observe pixels --out pendulum""",
)
def train_command() -> None:
    """Train a model and write it to a file.

    `latentmd train TRAJECTORIES...` is short for `latentmd train molecule TRAJECTORIES...`. The log and checkpoints go
    to `<out stem>-training/` beside the file; --resume goes on from there.
    """


_TRAJECTORIES = argument("trajectories", metavar="TRAJECTORIES...", nargs=-1, required=True, type=PATH)
_OUT = option("--out", required=True, type=PATH, help="File to write, such as my.pt.")
_CONFIG = option("--config", type=PATH, help="TOML file with settings; defaults otherwise.")
_AGAIN = [
    option("--seed", type=NOT_NEGATIVE, help="Decides all randomness.  [default: 0]"),
    option("--resume", is_flag=True, help="Go on from the checkpoints of an interrupted training."),
    option("--overwrite", is_flag=True, help="Replace what is there."),
]
_DEVICE = device("Device to train on.")


@contextmanager
def _training(out: Path | None, options: dict[str, Any]) -> Iterator[Display]:
    """Progress of a training, its errors as exit codes 2, 1 and 130; checks `out` first and uses up `overwrite`."""
    from latentmd.training.config import ConfigError
    from latentmd.training.loop import TrainingError

    if out is not None:
        _check_out(out, options["resume"], options.pop("overwrite"))
    try:
        with Display(keep=True) as progress:
            yield progress
    except KeyboardInterrupt:
        interrupted("stopped; run the same line with --resume to go on")
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    except (ValueError, OSError, TrainingError) as error:
        raise click.ClickException(str(error)) from error


def _check_out(out: Path, resume: bool, overwrite: bool) -> None:
    """Refuse to write over a file or the checkpoints of an interrupted training, or into a folder that is not there."""
    from latentmd.io.folder import RECORD
    from latentmd.training.run import training_folder

    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other; give one of them")
    if out.exists() and not (resume or overwrite):
        raise click.UsageError(f"{out} exists; pass --overwrite to replace it or --resume to continue its training")
    if not out.parent.is_dir():
        raise click.UsageError(f"{out.parent}: no such folder for the model; create it first")
    if not (resume or overwrite) and (training_folder(out) / RECORD).exists():
        raise click.UsageError(
            f"{training_folder(out)} holds checkpoints of an earlier training; pass --resume to go on with it or "
            "--overwrite to begin anew"
        )


@train_command.command("molecule", short_help="One molecule, from trajectories.")
@several([_TRAJECTORIES, TOP, interval(), _OUT, _CONFIG])
@SELECT
@option("--system", metavar="XML", help="OpenMM System of the solute, to learn its energies too.")
@option("--temperature", type=float, help="Of the trajectories, kelvin.  [default: as recorded, or 300]")
@option("--name", default="", help="Name of the model in its manifest; the file's stem by default.")
@several([*_AGAIN, _DEVICE])
@shown("--devices", type=int, default=1, help="Number of GPUs.")
@shown(
    "--precision", type=click.Choice(["32-true", "bf16-mixed"]), default="32-true",
    help="Of Lightning: single precision, or bfloat16 where that is enough.",
)  # fmt: skip
def molecule_command(trajectories: tuple[Path, ...], top: Path, out: Path, config: Path | None, **options: Any) -> None:
    """Train a surrogate of one molecule from TRAJECTORIES, one file per independent run.

    Any files that mdtraj reads will do; those without times need --interval. Water and ions are left out, and --top
    is of what the files hold. A solute in water, and one whose force field is not known, is learnt without energies.
    """
    if len(trajectories) == 1 and trajectories[0].is_dir():
        raise click.UsageError(
            f"{trajectories[0]} is a folder; for a data set of many peptides: "
            f"latentmd train peptides {trajectories[0]} --out {out}"
        )
    with _training(out, options) as progress:
        from latentmd.training.config import load_config
        from latentmd.training.train import train

        given = {name: options.pop(name) for name in ("seed", "temperature")}
        settings = load_config(config).model_copy(update={k: v for k, v in given.items() if v is not None})
        train(trajectories, top, out, settings, report=progress, **options)
    click.echo(f"wrote {out}; see it with: latentmd inspect {out}")


@train_command.command("peptides", short_help="Many peptides at once, from a data set.")
@argument("dataset", type=PATH)
@several([interval(), _OUT])
@shown("--minutes", type=POSITIVE, default=60.0, help="Wall time of training, reading and scoring aside.")
@several([*_AGAIN, _DEVICE])
def peptides_command(dataset: Path, out: Path, minutes: float, **options: Any) -> None:
    """Train one model of the many peptides of DATASET, and score it on some that are held out.

    DATASET is a folder with a folder for each peptide, such as `latentmd md PEPTIDES/` writes.
    """
    with _training(out, options) as progress:
        from latentmd.training.peptides.run import PeptideSettings, train_peptides

        settings = PeptideSettings(minutes=minutes, seed=options.pop("seed") or 0)
        result = train_peptides(dataset, out, settings, report=progress, **options)
    click.echo(result.table())
    click.echo(f"wrote {out}; simulate with it: latentmd simulate PEPTIDE.pdb --model {out}")


@train_command.command("finetune", short_help="One peptide, from a model of many and trajectories.")
@several([_TRAJECTORIES, TOP, interval()])
@shown("--from", "start", metavar="MODEL", default="peptides", help="Model of many peptides, by name or file.")
@_OUT
@shown("--minutes", type=POSITIVE, default=3.0, help="Wall time of fine-tuning, and again of the model from scratch.")
@option(
    "--held-out", multiple=True, type=PATH,
    help="Trajectories, or a folder of them, that the models are scored on; the last of TRAJECTORIES by default.",
)  # fmt: skip
@shown("--scratch/--no-scratch", default=True, help="Train a model from scratch on the same frames too, to compare.")
@several(_AGAIN)
def finetune_command(trajectories: tuple[Path, ...], top: Path, out: Path, **options: Any) -> None:
    """Fine-tune a model of many peptides on TRAJECTORIES of one.

    What it was, what it became and a model from scratch are scored on frames that are held out.
    """
    with _training(out, options) as progress:
        from latentmd.training.peptides.finetune import finetune

        result = finetune(trajectories, top, out, seed=options.pop("seed") or 0, report=progress, **options)
    click.echo(result.table())
    click.echo(f"wrote {out}; simulate with it: latentmd simulate {top} --model {out}")


@train_command.command("paths", short_help="What upsample and inpaint use, for a finished model.")
@argument("trajectories", metavar="TRAJECTORIES... | DATASET", nargs=-1, required=True, type=PATH)
@option("--top", type=PATH, help="PDB file of the molecule of TRAJECTORIES.")
@option("--model", required=True, help="Finished model that the paths belong to, by name or file.")
@several([interval(), SELECT, _OUT, *_AGAIN, _DEVICE])
def paths_command(trajectories: tuple[Path, ...], top: Path | None, model: str, out: Path, **options: Any) -> None:
    """Train the path model of a finished model, which `latentmd upsample` and `latentmd inpaint` use.

    Of a model of one molecule from its TRAJECTORIES; of a model of many peptides from the folder DATASET.
    """
    many = len(trajectories) == 1 and trajectories[0].is_dir()
    if (top is None) != many:
        expected = "leave --top out with a DATASET" if many else "expected --top with the PDB file of the molecule"
        raise click.UsageError(expected)
    with _training(out, options) as progress:
        from latentmd.training.paths import OF_PEPTIDES, PathTraining, train_paths, train_peptide_paths

        settings = replace(OF_PEPTIDES if many else PathTraining(), seed=options.pop("seed") or 0)
        if many:
            if options.pop("select"):
                raise click.UsageError("--select is for TRAJECTORIES of one molecule; leave it out with a DATASET")
            train_peptide_paths(trajectories[0], model, out, settings, report=progress, **options)
        else:
            train_paths(trajectories, str(top), model, out=out, settings=settings, report=progress, **options)
    click.echo(f"wrote {out}; it is found beside the model, as <model>.paths.pt")


@train_command.command("world", short_help="A toy world with known answers.")
@argument("world")
@option("--out", required=True, type=PATH, help="Folder to write.")
@option("--observe", help="How the world is seen, such as pixels; its first way by default.")
@option("--predictor", help="Predictor of the latent, such as hamiltonian; the recipe's by default.")
@several([_CONFIG, *_AGAIN])
def world_command(world: str, out: Path, **options: Any) -> None:
    """Train on trajectories of a toy WORLD with known answers, such as double-pendulum.

    The model, its figures and a table of measurements are written into the folder --out.
    """
    with _training(None, options) as progress:
        from latentmd.io.atomic import OutputError
        from latentmd.worlds.run import train_world

        try:
            result = train_world(world, out, seed=options.pop("seed") or 0, report=progress, **options)
        except OutputError as error:
            raise click.UsageError(str(error)) from error
    click.echo(result.table)
    click.echo(f"wrote {out}/: {', '.join(result.files)}")
