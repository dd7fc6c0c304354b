"""`latentmd train world`: simulate a toy world, train on what is seen of it, measure, draw, write."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentmd.io.atomic import write_json
from latentmd.io.folder import Policy, RunFiles, check_folder, claim_folder, policy_of
from latentmd.io.progress import Progress, quiet
from latentmd.systems.toy.world import World, WorldError, check_observation
from latentmd.systems.toy.world import world as world_by_name
from latentmd.training.config import ConfigError, read_toml
from latentmd.training.run import TrainingRun
from latentmd.worlds import evaluation, plots
from latentmd.worlds.config import WorldConfig, merged, recipe, world_config
from latentmd.worlds.data import WorldData, vector_state, world_data
from latentmd.worlds.model import WorldManifest, save_world
from latentmd.worlds.stages import TrainedWorld, measure, train_parts

MODEL, TABLE, CHECKPOINTS = "model.pt", "table.json", "checkpoints"
_WORLD = RunFiles("world", (CHECKPOINTS, MODEL, TABLE, "training.csv", "*.png", "forecast.gif"))


@dataclass(frozen=True)
class WorldPlan:
    """A training that can be run: all that can be wrong with what was asked has been checked."""

    world: World
    config: WorldConfig
    out: Path
    policy: Policy


@dataclass(frozen=True)
class WorldResult:
    """What a training on a world found: all figures, the main ones as text, and the names of the files."""

    figures: dict[str, Any]
    table: str
    files: list[str]


def plan_world(
    world: str,
    out: str | Path,
    observe: str | None = None,
    predictor: str | None = None,
    seed: int = 0,
    config: str | Path | None = None,
    *,
    changes: dict[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> WorldPlan:
    """Check everything that a training on a world is asked for, before anything is computed; arguments of
    `train_world`.
    """
    try:
        found = world_by_name(world)
        how = observe or found.observations[0]
        check_observation(how, found)
    except WorldError as error:
        raise ConfigError(str(error)) from error
    settings: dict[str, Any] = read_toml(config) if config is not None else {}
    for part in (changes or {}, {"seed": seed}):
        settings = merged(settings, part)
    if predictor is not None:
        settings = merged(settings, {"predictor": {"kind": predictor}})
    chosen = world_config(world, how, recipe(world, how), settings)
    policy = policy_of(resume, overwrite)
    check_folder(Path(out), policy, _WORLD)
    return WorldPlan(_with_parameters(found, chosen.parameters), chosen, Path(out), policy)


def _with_parameters(world: Any, parameters: dict[str, Any]) -> World:
    known = [field.name for field in dataclasses.fields(world) if field.init]
    if unknown := [name for name in parameters if name not in known]:
        raise ConfigError(f"{world.name} has no parameter {', '.join(unknown)}; there are {', '.join(known)}")
    try:
        changed: World = dataclasses.replace(world, **parameters)
    except WorldError as error:
        raise ConfigError(str(error)) from error
    return changed


def train_world(world: str, out: str | Path, *, report: Progress = quiet, **options: Any) -> WorldResult:
    """Simulate a toy world, train on what is seen of it, measure on held-out trajectories, and write a folder.

    Args:
        world: its name.
        out: folder of the results.
        report: called with (stage, done, total, losses).
        options: of `plan_world`.

    Raises:
        ConfigError: no such world, way of observing, predictor or setting.
        OutputError: the folder holds something else or another training, is in use, or cannot be written.
    """
    return run_world(plan_world(world, out, **options), report)


def run_world(plan: WorldPlan, report: Progress = quiet) -> WorldResult:
    """Run a plan: simulate, train, measure on held-out trajectories, and write everything into its folder."""
    request = {"settings": plan.config.model_dump(mode="json")}
    with claim_folder(plan.out, plan.policy, _WORLD, request):
        return _train(plan, report)


def _train(plan: WorldPlan, report: Progress) -> WorldResult:
    start, config = time.perf_counter(), plan.config
    folder = plan.out / CHECKPOINTS
    folder.mkdir(exist_ok=True)
    log = plan.out / "training.csv"
    resume = plan.policy == "resume"
    if not resume:
        log.unlink(missing_ok=True)
    run = TrainingRun(folder, log, report, device="cpu", precision="32-true", devices=1, resume=resume)
    data = world_data(plan.world, config)
    run.record("simulation", time.perf_counter() - start)
    torch.manual_seed(config.seed)
    trained = train_parts(data, config, run)
    figures, curves = measure(trained, data, config)
    figures = {"world": config.world, "observe": config.observe, "seed": config.seed, **figures,
               "seconds": {**run.seconds, "all": round(time.perf_counter() - start, 1)}}  # fmt: skip
    _write_model(plan, trained, data, figures)
    write_json(plan.out / TABLE, figures, indent=1)
    files = [MODEL, TABLE, "training.csv", *_draw(plan, trained, data, curves, log)]
    return WorldResult(figures, table_text(figures, config.horizon), files)


def _write_model(plan: WorldPlan, trained: TrainedWorld, data: WorldData, figures: dict[str, Any]) -> None:
    config = plan.config
    tokens, dim = trained.test[0].shape[1:]
    manifest = WorldManifest(
        world=config.world, observe=config.observe, units=plan.world.units, interval=plan.world.interval,
        lag=config.jepa.lag, predictor=config.predictor.kind, latent=(tokens, dim), read_out=data.quantity_names(),
        seed=config.seed, metrics={key: figures[key] for key in ("probe_r2", "reconstruction", "predictors")},
        training={"config": config.model_dump(mode="json"), "seconds": figures["seconds"]},
    )  # fmt: skip
    save_world(plan.out / MODEL, trained.model, manifest)


def _draw(plan: WorldPlan, trained: TrainedWorld, data: WorldData, curves: dict[str, Any], log: Path) -> list[str]:
    """Write all pictures; returns their names."""
    config, out, unit = plan.config, plan.out, plan.world.units.split(",")[0].split(":")[0]
    pictures: dict[str, bytes | None] = {"loss.png": plots.loss_curves(log)}
    times = [plan.world.interval * np.arange(len(z)) for z in trained.test]
    for kind in config.maps:
        name = f"latent-{kind.lower()}.png"
        pictures[name] = plots.latent_map(trained.test, times, kind, config.seed, unit)
    interval = plan.world.interval * config.jepa.lag[0]
    pictures["forecast.png"] = plots.forecast_curves(curves["errors"], interval, unit, curves["drifts"])
    pictures["reconstruction.png"] = plots.reconstruction_sheet(*_seen_and_decoded(trained, data))
    for name, content in pictures.items():
        if content is not None:
            (out / name).write_bytes(content)
    plots.forecast_gif(out / "forecast.gif", _panels(plan, trained, data))
    return [name for name, content in pictures.items() if content is not None] + ["forecast.gif"]


def _seen_and_decoded(trained: TrainedWorld, data: WorldData) -> tuple[Any, Any]:
    found = evaluation.read(trained.model.decoder, torch.from_numpy(trained.test[0]))
    seen = data.test.seen[0]
    flat = (len(seen), -1)
    if data.of_particles:  # kinetic energies of the first particles
        return seen[..., 0], found[..., 0]
    return (seen, found) if seen.ndim == 3 else (seen.reshape(flat), found.reshape(flat))


def _panels(plan: WorldPlan, trained: TrainedWorld, data: WorldData) -> dict[str, Any]:
    """Truth, forecast and reconstruction of the first held-out trajectory as pictures."""
    lag, horizon = plan.config.jepa.lag[0], plan.config.horizon
    frames = lag * np.arange(horizon + 1)
    made = evaluation.forecast(
        {"own": trained.model.predictor}, trained.test[:1], lag, horizon=horizon, seed=plan.config.seed, starts=1
    )
    latents = {"forecast": made.predicted["own"][0], "reconstruction": made.truth[0]}
    if data.test.seen[0].ndim == 3 and not data.of_particles:
        decoder = trained.model.decoder
        shown = {title: evaluation.read(decoder, z) for title, z in latents.items()}
        return {"truth": data.test.seen[0][frames], **shown}
    states = data.test.states[0]
    if data.of_particles:
        energies = {t: evaluation.read(trained.model.reader, z)[..., 0] for t, z in latents.items()}
        energies = {"truth": data.test.quantities[0][frames][..., 0], **energies}
        return {t: plots.draw_particles(states[frames], e, data.particles().box) for t, e in energies.items()}
    shape = states.shape[1:]
    read = {t: vector_state(plan.world, evaluation.read(trained.model.reader, z), shape) for t, z in latents.items()}
    return {t: plots.draw_states(plan.world, s) for t, s in {"truth": states[frames], **read}.items()}


def table_text(figures: dict[str, Any], horizon: int) -> str:
    """The main figures as a table for the terminal."""
    lines = ["linear probes, held-out R²: " + ", ".join(f"{k} {v:.3f}" for k, v in figures["probe_r2"].items())]
    reconstruction = figures["reconstruction"]
    lines.append(f"reconstruction: RMS error {reconstruction['rms_error']:.3g}, R² {reconstruction['r2']:.4f}")
    lines.append(
        f"{'predictor':<24}{'weights':>9}{'cosine':>9}{'R²':>9}{'error 1':>9}{f'error {horizon}':>10}"
        f"{'energy drift':>14}"
    )
    for name, row in figures["predictors"].items():
        forecast, step = row["forecast"], row["one_step"]
        lines.append(
            f"{name:<24}{row['parameters']:>9}{step['cosine']:>9.4f}{step['r2']:>9.4f}{forecast['step 1']:>9.3f}"
            f"{forecast[f'step {horizon}']:>10.3f}{row['energy_drift']['last']:>14.3f}"
        )
    lines.append(
        "cosine and R² of the latent over one step; errors of the read-out state over its spread; drift of the"
    )
    lines.append("physical energy of decoded states over a forecast, over the energy's spread")
    return "\n".join(lines)
