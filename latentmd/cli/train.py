"""`latentmd train`: trajectories in, bundle out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command(
    "train",
    epilog="""\b
Examples:
  latentmd train train/walker-*.xtc --top train/topology.pdb --out my.pt
  latentmd train train/*.xtc --top train/topology.pdb --out my.pt --config my.toml --resume""",
)
@click.argument("trajectories", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", required=True, type=click.Path(path_type=Path), help="PDB file of the molecule.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Bundle to write, such as my.pt.")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings; defaults otherwise.")
@click.option("--name", default="", help="Name of the model in its manifest; the file's stem by default.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoints of an interrupted training.")
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--devices", type=int, default=1, show_default=True, help="Number of GPUs.")
@click.option("--precision", type=click.Choice(["32-true", "bf16-mixed"]), default="32-true", show_default=True)
def train_command(
    trajectories: tuple[Path, ...],
    top: Path,
    out: Path,
    config: Path | None,
    name: str,
    resume: bool,
    overwrite: bool,
    device: str,
    devices: int,
    precision: str,
) -> None:
    """Train a surrogate of one molecule from TRAJECTORIES and write it as a bundle.

    Any files that mdtraj reads will do, one per independent run. The log, the loss curves and checkpoints go to
    `<out stem>-training/` beside the bundle.
    """
    from latentmd.training.config import ConfigError, load_config

    if out.exists() and not (resume or overwrite):
        raise click.UsageError(f"{out} exists; pass --overwrite to replace it or --resume to continue its training")
    if not out.parent.is_dir():
        raise click.UsageError(f"{out.parent}: no such folder for the bundle; create it first")
    try:
        settings = load_config(config)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    from latentmd.training.loop import TrainingError
    from latentmd.training.train import train

    with _Progress() as progress:
        try:
            train(
                trajectories, top, out, settings, name=name, resume=resume, device=device, devices=devices,
                precision=precision, report=progress,
            )  # fmt: skip
        except KeyboardInterrupt as error:
            raise click.ClickException("stopped; run the same line with --resume to go on") from error
        except (ValueError, OSError, TrainingError) as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"wrote {out}; see it with: latentmd inspect {out}")


class _Progress:
    """One bar per stage, with the losses beside it."""

    def __enter__(self) -> _Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.bars = Progress(
            TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
        )  # fmt: skip
        self.tasks: dict[str, Any] = {}
        self.bars.start()
        return self

    def __call__(self, stage: str, step: int, steps: int, values: dict[str, float]) -> None:
        losses = " ".join(f"{name} {value:.3g}" for name, value in values.items())
        if stage not in self.tasks:
            self.tasks[stage] = self.bars.add_task(stage, total=steps, losses=losses)
        self.bars.update(self.tasks[stage], completed=step, losses=losses)

    def __exit__(self, *_: object) -> None:
        self.bars.stop()
