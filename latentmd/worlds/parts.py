"""Training on a world: its networks and the stages (joint embedding, predictors, read-outs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.arrays import Floats
from latentmd.core.jepa import JEPA, Guide
from latentmd.core.objectives import PerToken
from latentmd.decoders.state import PictureDecoder, StateDecoder, TokenDecoder
from latentmd.training.embedding import build_objective, collapse_diagnostics, embedding_stage, encode_all, scheme_of
from latentmd.training.loop import Optimisation, Stage, append_rows
from latentmd.training.parts import Latent, LatentWindow, Observed, encoder_of, predictor_of
from latentmd.training.run import TrainingRun
from latentmd.training.windows import LaggedWindows
from latentmd.worlds.config import WorldConfig
from latentmd.worlds.model import WorldModel
from latentmd.worlds.trajectories import WorldData

Runs = list[NDArray[np.float32]]
_LOGGED = ("prediction", "variance", "covariance", "gain", "conservation", "spectral")  # losses of stage 1
_TYPICAL = 4000  # frames that fix means and deviations


@dataclass(frozen=True)
class TrainedWorld:
    """The frozen parts, all predictors by name (the model's own first), and latents of both sets."""

    model: WorldModel
    predictors: dict[str, nn.Module]
    train: Runs
    test: Runs


def train_parts(data: WorldData, config: WorldConfig, run: TrainingRun) -> TrainedWorld:
    """Run all stages on the training trajectories; the test trajectories are only encoded."""
    encoder, start = train_encoder(data, config, run)
    train, test = (encode_all(encoder, sample.observations) for sample in (data.train, data.test))
    tokens, dim = train[0].shape[1:]
    predictors: dict[str, nn.Module] = {}
    for kind in dict.fromkeys((config.predictor.kind, *config.predictor.rivals)):
        torch.manual_seed(config.seed)
        untrained, trained_before = new_predictor(kind, tokens, dim, config), False
        if start is not None and kind == config.predictor.kind:
            untrained.load_state_dict(start.state_dict())
            trained_before = True
        predictors[kind] = run.stage(world_predictor_stage(kind, untrained, train, config, trained_before))
    readouts = []
    for name, targets in (("reader", data.train.quantities), ("decoder", data.train.seen)):
        untrained = new_readout(targets, tokens, dim, config)
        readouts.append(run.stage(readout_stage(name, untrained, train, targets, config)))
    model = WorldModel(encoder, predictors[config.predictor.kind], *readouts)
    return TrainedWorld(model.eval(), predictors, train, test)


def train_encoder(data: WorldData, config: WorldConfig, run: TrainingRun) -> tuple[nn.Module, nn.Module | None]:
    """Stage 1: the frozen encoder, the JEPA's target, and its predictor; None where the encoder cannot be trained."""
    torch.manual_seed(config.seed)
    encoder, c = new_encoder(data, config), config.jepa
    if not any(p.requires_grad for p in encoder.parameters()):
        return encoder.eval(), None
    with torch.no_grad():
        tokens, dim = encoder(torch.from_numpy(data.train.observations[0][:2].copy())).shape[1:]
    objective = build_objective(c, config.seed)
    if c.sample == "token":
        objective = PerToken(objective, dim)
    predictor: Any = new_predictor(config.predictor.kind, tokens, dim, config)
    conserved = Guide(predictor.energy if c.conserved > 0 else None, c.conserved)
    jepa = JEPA(encoder, predictor, objective, dim=dim, scheme=scheme_of(c), conserved=conserved)
    windows = LaggedWindows(data.train.observations, c.lag, c.rollout)
    stage = embedding_stage(jepa, windows, c, config.seed, terms=_LOGGED, probe_frames=256, check_every=100)
    trained: Any = run.stage(stage)
    probe = torch.from_numpy(np.concatenate([o[:: max(1, len(o) // 8)] for o in data.train.observations])[:512])
    append_rows(run.log, "jepa", c.steps, collapse_diagnostics(trained, probe))
    return trained.target.requires_grad_(False).eval(), trained.predictor


def new_encoder(data: WorldData, config: WorldConfig) -> nn.Module:
    """An untrained encoder of the configured kind for observations like those of the training set."""
    box, cutoff = (data.fluid.box, data.fluid.cutoff) if data.fluid else (0.0, 0.0)
    seen = Observed(_typical(data.train.observations), box=box, cutoff=cutoff)
    return encoder_of(config.encoder.kind, False).build(seen, config.encoder)


def new_predictor(kind: str, tokens: int, dim: int, config: WorldConfig) -> nn.Module:
    """An untrained predictor of tokens [batch, tokens, dim]; lags are in frames."""
    shortest, longest = config.jepa.lag
    latent = Latent(tokens, dim, (float(shortest), float(longest)), seed=config.seed)
    return predictor_of(kind, False).build(latent, config.predictor)


def new_readout(targets: Sequence[Floats], tokens: int, dim: int, config: WorldConfig) -> nn.Module:
    """An untrained decoder of targets [frames, ...]: of pictures, of values of many particles, or of vectors."""
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


def world_predictor_stage(
    kind: str, predictor: nn.Module, latents: Runs, config: WorldConfig, trained_before: bool
) -> Stage:
    """Stage 2: a predictor on frozen latents [frames, tokens, dim], longer where the JEPA has not trained it."""
    c, part = config.predictor, predictor_of(kind, False)
    windows = LaggedWindows(latents, config.jepa.lag, 1 if part.pairs else c.rollout)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        frames, lag = windows.sample(c.batch, generator)
        return part.loss(predictor, LatentWindow(frames, lag, generator), c)

    if part.start is not None:
        (first, second), lag = windows.sample(4096, torch.Generator().manual_seed(config.seed))
        part.start(predictor, first, float(lag.median()), second)
    steps = c.steps + (0 if trained_before else config.jepa.steps)
    how = Optimisation(steps=steps, learning_rate=c.learning_rate, seed=config.seed)
    return Stage(f"predictor-{kind}", predictor, losses, how)


def readout_stage(
    name: str, decoder: nn.Module, latents: Runs, targets: Sequence[Floats], config: WorldConfig
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
        return {"loss": (decoder(z[rows], nothing) - torch.from_numpy(wanted)).square().mean() / spread}

    return Stage(name, decoder, losses, Optimisation(steps=c.steps, learning_rate=c.learning_rate, seed=config.seed))
