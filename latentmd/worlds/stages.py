"""Training on a world: its networks, the stages (joint embedding, predictors, read-outs), and what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.arrays import Floats
from latentmd.core.jepa import JEPA
from latentmd.core.objectives import PerToken
from latentmd.decoders.state import PictureDecoder, StateDecoder, TokenDecoder
from latentmd.training.embedding import build_objective, collapse_diagnostics, embedding_stage, encode_all
from latentmd.training.loop import Stage, append_rows
from latentmd.training.parts import Latent, LatentWindow, Observed, encoder_of, predictor_of
from latentmd.training.run import TrainingRun
from latentmd.training.windows import LaggedWindows
from latentmd.worlds import evaluation
from latentmd.worlds.config import WorldConfig
from latentmd.worlds.data import Sample, WorldData
from latentmd.worlds.evaluation import ensemble_figures, is_stochastic, structure_figures
from latentmd.worlds.model import WorldModel


@dataclass(frozen=True)
class TrainedWorld:
    """The frozen parts, all predictors by name (the model's own first), and latents of both sets."""

    model: WorldModel
    predictors: dict[str, nn.Module]
    train: Runs
    test: Runs


def train_parts(
    data: WorldData, config: WorldConfig, run: TrainingRun, encoder: nn.Module | None = None
) -> TrainedWorld:
    """Run all stages on the training trajectories; the test trajectories are only encoded."""
    encoder, start = train_encoder(data, config, run, encoder)
    train = encode_all(encoder, data.train.observations)
    test = encode_all(encoder, data.test.observations)
    tokens, dim = train[0].shape[1:]
    predictors: dict[str, nn.Module] = {}
    for kind in dict.fromkeys((config.predictor.kind, *config.predictor.rivals)):
        torch.manual_seed(config.seed)
        untrained = new_predictor(kind, tokens, dim, config)
        trained_before = start is not None and kind == config.predictor.kind
        if start is not None and trained_before:
            untrained.load_state_dict(start.state_dict())
        stage = world_predictor_stage(kind, untrained, train, config, trained_before)
        predictors[kind] = run.stage(stage)
    predictors[evaluation.PERSISTENCE] = evaluation.Persistence()
    readouts = []
    for name, targets in (("reader", data.train.quantities), ("decoder", data.train.seen)):
        untrained = new_readout(targets, tokens, dim, config)
        readouts.append(run.stage(readout_stage(name, untrained, train, targets, config)))
    model = WorldModel(encoder, predictors[config.predictor.kind], *readouts)
    return TrainedWorld(model.eval(), predictors, train, test)


def train_encoder(
    data: WorldData, config: WorldConfig, run: TrainingRun, encoder: nn.Module | None = None
) -> tuple[nn.Module, nn.Module | None]:
    """Stage 1: the frozen encoder, which is the JEPA's target, and the predictor that was trained with it.

    An encoder of which nothing can be trained is used as it is, and then there is no such predictor.
    """
    torch.manual_seed(config.seed)
    if encoder is None:
        encoder = new_encoder(data, config)
    if not any(p.requires_grad for p in encoder.parameters()):
        return encoder.eval(), None
    with torch.no_grad():
        tokens, dim = encoder(torch.from_numpy(data.train.observations[0][:2].copy())).shape[1:]
    jepa = world_jepa(encoder, tokens, dim, config)
    trained: Any = run.stage(world_jepa_stage(jepa, data.train.observations, config))
    assert isinstance(trained, JEPA)
    probe = torch.from_numpy(np.concatenate([o[:: max(1, len(o) // 8)] for o in data.train.observations])[:512])
    append_rows(run.log, "jepa", config.jepa.steps, collapse_diagnostics(trained, probe))
    return trained.target.requires_grad_(False).eval(), trained.predictor


def measure(trained: TrainedWorld, data: WorldData, config: WorldConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """All figures of a training on held-out trajectories, ready for JSON; and error and energy drift over the
    horizon.
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


_TYPICAL = 4000  # frames that fix means and deviations


def new_encoder(data: WorldData, config: WorldConfig) -> nn.Module:
    """An untrained encoder of the configured kind for observations like those of the training set."""
    seen = Observed(_typical(data.train.observations))
    if data.of_particles:
        seen = replace(seen, box=data.particles().box, cutoff=data.particles().cutoff)
    return encoder_of(config.encoder.kind, False).build(seen, config.encoder)


def new_readout(targets: Sequence[Floats], tokens: int, dim: int, config: WorldConfig) -> nn.Module:
    """An untrained decoder of targets [frames, ...]: pictures come from transposed convolutions, values of many
    particles token by token, anything else from a perceptron on all tokens.
    """
    typical = _typical(targets)
    if config.encoder.kind == "particles":
        flat = typical.flatten(0, 1)
        return TokenDecoder(dim, flat.mean(0), flat.std(0))
    if typical.dim() == 3:
        return PictureDecoder(tokens, dim, typical.mean(0), config.decoder.width)
    return StateDecoder(tokens, dim, typical.mean(0), typical.std(0), config.decoder.width)


def _typical(arrays: Sequence[Floats]) -> Tensor:
    stride = max(1, sum(map(len, arrays)) // _TYPICAL)
    return torch.from_numpy(np.concatenate([np.asarray(a[::stride], dtype=np.float32) for a in arrays]))


Runs = list[NDArray[np.float32]]
_LOGGED = ("prediction", "variance", "covariance", "gain", "conservation", "spectral")  # losses of stage 1


def new_predictor(kind: str, tokens: int, dim: int, config: WorldConfig) -> nn.Module:
    """An untrained predictor of tokens [batch, tokens, dim]; lags are in frames."""
    lag = (float(config.jepa.lag[0]), float(config.jepa.lag[1]))
    return predictor_of(kind, False).build(Latent(tokens, dim, lag, seed=config.seed), config.predictor)


def world_jepa(encoder: nn.Module, tokens: int, dim: int, config: WorldConfig) -> JEPA:
    """The networks of stage 1: any encoder of one world's observations, and the configured predictor."""
    c = config.jepa
    objective = build_objective(c, config.seed)
    if c.sample == "token":
        objective = PerToken(objective, dim)
    predictor = new_predictor(config.predictor.kind, tokens, dim, config)
    conserved = predictor.energy if c.conserved > 0 else None
    return JEPA(
        encoder, predictor, objective, dim=dim, ema=c.ema, matching=c.matching, mask=c.mask, regularise=c.regularise,
        conserved=conserved, conserved_weight=c.conserved,  # type: ignore[arg-type]
    )  # fmt: skip


def world_jepa_stage(jepa: JEPA, observations: Runs, config: WorldConfig) -> Stage:
    """Stage 1 on observations of a world; lags in frames."""
    c = config.jepa
    windows = LaggedWindows(observations, c.lag, c.rollout)
    return embedding_stage(jepa, windows, c, config.seed, terms=_LOGGED, probe_frames=256, check_every=100)


def world_predictor_stage(
    kind: str, predictor: nn.Module, latents: Runs, config: WorldConfig, trained_before: bool
) -> Stage:
    """Stage 2: a predictor on frozen latents [frames, tokens, dim], by the loss of its kind.

    A predictor that joint-embedding prediction has not trained gets as many steps more.
    """
    c, part = config.predictor, predictor_of(kind, False)
    windows = LaggedWindows(latents, config.jepa.lag, 1 if part.pairs else c.rollout)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        frames, lag = windows.sample(c.batch, generator)
        return part.loss(predictor, LatentWindow(frames, lag, generator), c)

    if part.start is not None:
        (first, second), lag = windows.sample(4096, torch.Generator().manual_seed(config.seed))
        part.start(predictor, first, float(lag.median()), second)
    steps = c.steps + (0 if trained_before else config.jepa.steps)
    return Stage(f"predictor-{kind}", predictor, losses, steps=steps, learning_rate=c.learning_rate, seed=config.seed)


def readout_stage(
    name: str, decoder: nn.Module, latents: Runs, targets: Sequence[NDArray[np.floating]], config: WorldConfig
) -> Stage:
    """Stage 3: a decoder of frozen latents to what the frames show, in squared error over the targets' variance."""
    c = config.decoder
    z = torch.from_numpy(np.concatenate(latents))
    where = np.concatenate([np.full(len(part), i) for i, part in enumerate(targets)])
    row = np.concatenate([np.arange(len(part)) for part in targets])
    nothing = torch.zeros(c.batch, 0)
    sample = np.concatenate([np.asarray(part[:: max(1, len(part) // 16)], dtype=np.float64) for part in targets])
    spread = float(((sample - sample.mean(0)) ** 2).mean())

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(z), (c.batch,), generator=generator)
        wanted = np.stack([targets[where[i]][row[i]] for i in rows.numpy()]).astype(np.float32)
        found = decoder(z[rows], nothing)
        return {"loss": (found - torch.from_numpy(wanted)).square().mean() / spread}

    return Stage(name, decoder, losses, steps=c.steps, learning_rate=c.learning_rate, seed=config.seed)
