"""Train on a toy world: encoder by joint-embedding prediction, predictors and read-outs on its frozen latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from latentmd.core.jepa import JEPA
from latentmd.training.embedding import collapse_diagnostics, encode_all
from latentmd.training.loop import append_rows
from latentmd.training.run import TrainingRun
from latentmd.worlds import evaluation, stages
from latentmd.worlds.config import WorldConfig
from latentmd.worlds.data import Sample, WorldData
from latentmd.worlds.evaluation import ensemble_figures, is_stochastic, structure_figures
from latentmd.worlds.model import WorldModel


@dataclass(frozen=True)
class TrainedWorld:
    """The frozen parts, all predictors by name (the first is the model's own), and latents of both sets.

    Attributes:
        model: encoder, predictor and read-outs.
        predictors: the model's own first, then its rivals and persistence.
        train, test: latents [frames, tokens, dim] of each trajectory.
    """

    model: WorldModel
    predictors: dict[str, nn.Module]
    train: stages.Runs
    test: stages.Runs


def train_parts(
    data: WorldData, config: WorldConfig, run: TrainingRun, encoder: nn.Module | None = None
) -> TrainedWorld:
    """Run all stages on the training trajectories; the test trajectories are only encoded.

    Args:
        data, config, run: of the training.
        encoder: in place of the configured one; a frozen one, such as an `ExternalEncoder`, is used as it is.
    """
    encoder, start = train_encoder(data, config, run, encoder)
    train = encode_all(encoder, data.train.observations)
    test = encode_all(encoder, data.test.observations)
    tokens, dim = train[0].shape[1:]
    predictors: dict[str, nn.Module] = {}
    for kind in dict.fromkeys((config.predictor.kind, *config.predictor.rivals)):
        torch.manual_seed(config.seed)
        untrained = stages.new_predictor(kind, tokens, dim, config)
        trained_before = start is not None and kind == config.predictor.kind
        if start is not None and trained_before:
            untrained.load_state_dict(start.state_dict())
        stage = stages.world_predictor_stage(kind, untrained, train, config, trained_before)
        predictors[kind] = run.stage(stage)
    predictors[evaluation.PERSISTENCE] = evaluation.Persistence()
    readouts = []
    for name, targets in (("reader", data.train.quantities), ("decoder", data.train.seen)):
        untrained = stages.new_readout(targets, tokens, dim, config)
        readouts.append(run.stage(stages.readout_stage(name, untrained, train, targets, config)))
    model = WorldModel(encoder, predictors[config.predictor.kind], *readouts)
    return TrainedWorld(model.eval(), predictors, train, test)


def train_encoder(
    data: WorldData, config: WorldConfig, run: TrainingRun, encoder: nn.Module | None = None
) -> tuple[nn.Module, nn.Module | None]:
    """Stage 1: the frozen encoder, which is the JEPA's target, and the predictor that was trained with it.

    An encoder of which nothing can be trained, given or configured, is used as it is, and then there is no such
    predictor.

    Args:
        data: observations of the world.
        config: of the training.
        run: folder, log and devices.
        encoder: in place of the configured one.
    """
    torch.manual_seed(config.seed)
    if encoder is None:
        encoder = stages.new_encoder(data, config)
    if not any(p.requires_grad for p in encoder.parameters()):
        return encoder.eval(), None
    with torch.no_grad():
        tokens, dim = encoder(torch.from_numpy(data.train.observations[0][:2].copy())).shape[1:]
    jepa = stages.world_jepa(encoder, tokens, dim, config)
    trained: Any = run.stage(stages.world_jepa_stage(jepa, data.train.observations, config))
    assert isinstance(trained, JEPA)
    probe = torch.from_numpy(np.concatenate([o[:: max(1, len(o) // 8)] for o in data.train.observations])[:512])
    append_rows(run.log, "jepa", config.jepa.steps, collapse_diagnostics(trained, probe))
    return trained.target.requires_grad_(False).eval(), trained.predictor


def measure(trained: TrainedWorld, data: WorldData, config: WorldConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """All figures of a training on held-out trajectories, and the curves to draw.

    Args:
        trained: all parts.
        data: of which the held-out trajectories are used.
        config: of the training.

    Returns:
        Nested figures, ready for JSON; and per predictor the error and the energy drift over the horizon.
    """
    lag, horizon = config.jepa.lag[0], config.horizon
    figures: dict[str, Any] = {
        "latent": evaluation.latent_quality(trained.test),
        "probe_r2": evaluation.probes(trained.train, data.train.probes, trained.test, data.test.probes),
        "reconstruction": _reconstruction(trained, data.test),
    }
    made = evaluation.forecast(trained.predictors, trained.test, lag, horizon, config.seed)
    steps = lag * np.arange(horizon + 1)
    truth = np.stack([data.test.quantities[r][f + steps] for r, f in zip(made.run, made.frame, strict=True)])
    columns = data.train.quantities[0].shape[-1]
    spread = np.concatenate(data.train.quantities).reshape(-1, columns).std(0)
    spread = np.maximum(spread, 1e-3 * spread.max())  # an innermost shell of neighbours may always be empty
    curves: dict[str, Any] = {"errors": {}, "drifts": {}}
    figures["predictors"] = {}
    found_by: dict[str, Any] = {}
    scale = data.energy_scale()
    for name, predictor in trained.predictors.items():
        found = found_by[name] = evaluation.read(trained.model.reader, made.predicted[name])
        row: dict[str, Any] = {
            "parameters": sum(p.numel() for p in predictor.parameters()),
            "one_step": evaluation.one_step_scores(predictor, trained.test, lag),
            "forecast": evaluation.forecast_errors(found, truth, spread),
        }
        curves["errors"][name] = evaluation.forecast_curve(found, truth, spread)
        energies = data.energies(found)
        row["energy_drift"] = evaluation.energy_drift(energies, scale)
        curves["drifts"][name] = (np.abs(energies - energies[:, :1]) / scale).mean(0)
        figures["predictors"][name] = row
    if is_stochastic(data.world):
        figures["ensemble"] = ensemble_figures(trained.model, trained.train, data, config.seed)
    if data.of_particles:
        figures["structure"] = {name: structure_figures(data, truth, z) for name, z in found_by.items()}
    return figures, curves


def _reconstruction(trained: TrainedWorld, sample: Sample) -> dict[str, float]:
    """Squared error of decoded frames over the variance of what was seen, and its square root in its own units."""
    total, spread, count = 0.0, 0.0, 0
    mean = np.mean([s.astype(np.float64).mean(0) for s in sample.seen], axis=0)
    for latents, seen in zip(trained.test, sample.seen, strict=True):
        found = evaluation.read(trained.model.decoder, torch.from_numpy(latents))
        total += float(((found - seen) ** 2).sum())
        spread += float(((seen - mean) ** 2).sum())
        count += seen.size
    return {"rms_error": (total / count) ** 0.5, "r2": 1 - total / spread}
