"""`latentmd train world`: simulate a toy world, train on what is seen of it, measure, draw, write."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from latentmd.analysis.metric import Document
from latentmd.io.atomic import write_json
from latentmd.io.folder import RunFiles, claim_folder, policy_of
from latentmd.io.progress import Progress, quiet
from latentmd.systems.toy.world import World, WorldError
from latentmd.systems.toy.world import world as world_by_name
from latentmd.training.config import ConfigError, read_toml
from latentmd.training.run import TrainingRun
from latentmd.worlds.config import RECIPES, WorldConfig, merged, world_config
from latentmd.worlds.evaluation import measure
from latentmd.worlds.model import WorldManifest, save_world
from latentmd.worlds.parts import train_parts
from latentmd.worlds.plots import draw
from latentmd.worlds.trajectories import world_data

MODEL, TABLE, CHECKPOINTS = "model.pt", "table.json", "checkpoints"
_WORLD = RunFiles("world", (CHECKPOINTS, MODEL, TABLE, "training.csv", "*.png", "forecast.gif"))


@dataclass(frozen=True)
class WorldResult:
    """What a training on a world found: all figures, the main ones as text, and the names of the files."""

    figures: Document
    table: str
    files: list[str]


def plan_world(
    world: str, observe: str | None = None, *, predictor: str | None = None, seed: int = 0,
    config: str | Path | None = None, changes: Document | None = None,
) -> tuple[World, WorldConfig]:  # fmt: skip
    """The world and the settings of a training as `train_world` is asked for it; ConfigError where they are wrong."""
    settings = merged(read_toml(config) if config is not None else {}, changes or {})
    settings = merged(settings, {"seed": seed, "predictor": {"kind": predictor} if predictor else {}})
    try:
        found = world_by_name(world)
        how = observe or found.observations[0]
        found.check(how)
    except WorldError as error:
        raise ConfigError(str(error)) from error
    chosen = world_config(world, how, RECIPES[world, how], settings)
    return _with_parameters(found, chosen.parameters), chosen


def _with_parameters(world: Any, parameters: Document) -> World:
    known = [field.name for field in dataclasses.fields(world)]
    if unknown := [name for name in parameters if name not in known]:
        raise ConfigError(f"{world.name} has no parameter {', '.join(unknown)}; there are {', '.join(known)}")
    try:
        changed: World = dataclasses.replace(world, **parameters)
    except WorldError as error:
        raise ConfigError(str(error)) from error
    return changed


def train_world(
    world: str,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Progress = quiet,
    **options: Any,
) -> WorldResult:
    """Simulate a toy world, train on what is seen of it, measure on held-out trajectories, and write a folder.

    Args:
        world: its name.
        out: folder of the results, empty or not there yet.
        resume: go on with an interrupted training in `out`.
        overwrite: replace the training in `out`.
        report: called with (stage, done, total, losses).
        options: `observe`, how the world is seen (its first way by default); `predictor`, its kind (the recipe's);
            `seed` of trajectories and training (0); `config`, a TOML file with settings in place of the recipe's, and
            `changes`, the same as a dictionary, on top of the file.

    Raises:
        ConfigError: no such world, way of observing, predictor or setting.
        OutputError: the folder holds something else or another training, is in use, or cannot be written.
    """
    (found, config), folder = plan_world(world, **options), Path(out)
    with claim_folder(folder, policy_of(resume, overwrite), _WORLD, {"settings": config.model_dump(mode="json")}):
        return _train(found, config, folder, resume, report)


def _train(world: World, config: WorldConfig, out: Path, resume: bool, report: Progress) -> WorldResult:
    start, folder = time.perf_counter(), out / CHECKPOINTS
    folder.mkdir(exist_ok=True)
    run = TrainingRun(folder, out / "training.csv", report, "cpu", precision="32-true", devices=1, resume=resume)
    data = world_data(world, config)
    run.record("simulation", time.perf_counter() - start)
    torch.manual_seed(config.seed)
    trained = train_parts(data, config, run)
    measured, curves = measure(trained, data, config)
    seconds = {**run.seconds, "all": round(time.perf_counter() - start, 1)}
    manifest = WorldManifest(
        world=config.world, observe=config.observe, units=world.units, interval=world.interval,
        lag=config.jepa.lag, predictor=config.predictor.kind, latent=trained.test[0].shape[1:],
        read_out=data.quantity_names(), seed=config.seed,
        metrics={key: measured[key] for key in ("probe_r2", "reconstruction", "predictors")},
        training={"config": config.model_dump(mode="json"), "seconds": seconds},
    )  # fmt: skip
    save_world(out / MODEL, trained.model, manifest)
    asked = {"world": config.world, "observe": config.observe, "seed": config.seed}
    figures = {**asked, **measured, "seconds": seconds}
    write_json(out / TABLE, figures, indent=1)
    files = [MODEL, TABLE, "training.csv", *draw(out, trained, data, config, curves)]
    return WorldResult(figures, table_text(figures, config.horizon), files)


def table_text(figures: Document, horizon: int) -> str:
    """The main figures as a table for the terminal."""
    reconstruction = figures["reconstruction"]
    lines = [
        "linear probes, held-out R²: " + ", ".join(f"{k} {v:.3f}" for k, v in figures["probe_r2"].items()),
        f"reconstruction: RMS error {reconstruction['rms_error']:.3g}, R² {reconstruction['r2']:.4f}",
        f"{'predictor':<24}{'weights':>9}{'cosine':>9}{'R²':>9}{'error 1':>9}{f'error {horizon}':>10}  energy drift",
    ]
    for name, row in figures["predictors"].items():
        forecast, step = row["forecast"], row["one_step"]
        lines.append(
            f"{name:<24}{row['parameters']:>9}{step['cosine']:>9.4f}{step['r2']:>9.4f}{forecast['step 1']:>9.3f}"
            f"{forecast[f'step {horizon}']:>10.3f}{row['energy_drift']['last']:>14.3f}"
        )
    lines += [
        "cosine and R² of the latent over one step; errors of the read-out state over its spread; drift of the",
        "physical energy of decoded states over a forecast, over the energy's spread",
    ]
    return "\n".join(lines)
