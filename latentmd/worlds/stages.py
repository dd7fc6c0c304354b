"""Networks and stages of a training on a world: joint-embedding prediction, predictors on frozen latents, read-outs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.arrays import Floats
from latentmd.core.jepa import JEPA
from latentmd.core.objectives import PerToken, conservation_loss
from latentmd.core.steps import (
    EGNNPredictor,
    GeneralHamiltonianPredictor,
    HamiltonianPredictor,
    LangevinPredictor,
    MLPPredictor,
    ResidualPredictor,
)
from latentmd.decoders.state import PictureDecoder, StateDecoder, TokenDecoder
from latentmd.encoders.frames import ConvolutionalEncoder, FrameEncoder
from latentmd.encoders.particles import ParticleEncoder
from latentmd.encoders.vectors import SequenceEncoder, StandardEncoder, VectorEncoder
from latentmd.training.embedding import build_objective, embedding_stage
from latentmd.training.loop import Stage
from latentmd.training.windows import LaggedWindows
from latentmd.worlds.config import PredictorKind, WorldConfig
from latentmd.worlds.data import WorldData

_TYPICAL = 4000  # frames that fix means and deviations


def new_encoder(data: WorldData, config: WorldConfig) -> nn.Module:
    """An untrained encoder of the configured kind for observations like those of the training set."""
    c = config.encoder
    typical = _typical(data.train.observations)
    builders: dict[str, Callable[[], nn.Module]] = {
        "vector": lambda: VectorEncoder(typical, c.tokens, c.dim, c.width, c.depth),
        "sequence": lambda: SequenceEncoder(typical, c.tokens, c.dim, c.width, c.depth),
        "convolutions": lambda: ConvolutionalEncoder(typical.shape[1], c.tokens, c.dim, c.width, typical.shape[2]),
        "frames": lambda: FrameEncoder(typical, c.tokens, c.dim, c.width),
        "particles": lambda: _particle_encoder(data, typical, config),
        "standard": lambda: StandardEncoder(typical),
    }
    return builders[c.kind]()


def _particle_encoder(data: WorldData, typical: Tensor, config: WorldConfig) -> nn.Module:
    c, world = config.encoder, data.particles()
    dimensions = typical.shape[-1] // 2
    speed = float(typical[..., dimensions:].square().mean().sqrt())
    cutoff = min(world.cutoff, world.box / 2)
    return ParticleEncoder(
        dimensions * (world.box,), cutoff, c.dim, c.width, c.depth, speed=speed, observations=typical
    )


def new_readout(targets: Sequence[Floats], tokens: int, dim: int, config: WorldConfig) -> nn.Module:
    """An untrained decoder of targets [frames, ...], one array per trajectory.

    Pictures come from transposed convolutions, targets with a value for each of many particles [frames, tokens, ...]
    token by token, anything else from a perceptron on all tokens.

    Args:
        targets: what is read out, [frames, ...] of each trajectory.
        tokens, dim: shape of the latent.
        config: of the training.
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
_LARGE = 2  # a large MLP is this many times wider, so about four times the parameters
_LOGGED = ("prediction", "variance", "covariance", "gain", "conservation", "spectral")  # losses of stage 1


def new_predictor(kind: PredictorKind, tokens: int, dim: int, config: WorldConfig) -> nn.Module:
    """An untrained predictor of tokens [batch, tokens, dim]; lags are in frames.

    Args:
        kind: of predictor.
        tokens, dim: shape of the latent.
        config: of the training.
    """
    c, lag = config.predictor, (float(config.jepa.lag[0]), float(config.jepa.lag[1]))
    scheme = "euler" if kind == "hamiltonian-euler" else "leapfrog"
    builders: dict[PredictorKind, Callable[[], nn.Module]] = {
        "residual": lambda: ResidualPredictor(dim, lag, c.width, c.depth, tokens),
        "mlp": lambda: MLPPredictor(dim, lag, c.width, c.depth, tokens),
        "large-mlp": lambda: MLPPredictor(dim, lag, _LARGE * c.width, c.depth, tokens),
        "egnn": lambda: EGNNPredictor(dim, lag, c.width, c.depth),
        "hamiltonian-general": lambda: GeneralHamiltonianPredictor(dim, lag, c.width, tokens, c.substeps),
        "langevin": lambda: LangevinPredictor(dim, lag, c.width, tokens),
    }
    if kind.startswith("hamiltonian") and kind not in builders:
        return HamiltonianPredictor(dim, lag, c.width, tokens, c.substeps, scheme=scheme)  # type: ignore[arg-type]
    return builders[kind]()


def world_jepa(encoder: nn.Module, tokens: int, dim: int, config: WorldConfig) -> JEPA:
    """The networks of stage 1: any encoder of one world's observations, and the configured predictor.

    Args:
        encoder: untrained.
        tokens, dim: shape of its latent.
        config: of the training.
    """
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
    """Stage 1 on observations of a world; lags in frames.

    Args:
        jepa: from `world_jepa`.
        observations: [frames, ...] of each trajectory.
        config: of the training.
    """
    c = config.jepa
    windows = LaggedWindows(observations, c.lag, c.rollout)
    return embedding_stage(jepa, windows, c, config.seed, terms=_LOGGED, probe_frames=256, check_every=100)


def world_predictor_stage(
    kind: PredictorKind, predictor: nn.Module, latents: Runs, config: WorldConfig, trained_before: bool
) -> Stage:
    """Stage 2: a predictor on frozen latents [frames, tokens, dim], unrolled; Langevin by its one-step likelihood.

    A predictor that joint-embedding prediction has not trained gets as many steps more.

    Args:
        kind: of predictor.
        predictor: in training.
        latents: [frames, tokens, dim] of each trajectory.
        config: of the training.
        trained_before: joint-embedding prediction trained this predictor already.
    """
    name, steps = f"predictor-{kind}", config.predictor.steps + (0 if trained_before else config.jepa.steps)
    c = config.predictor
    likelihood = isinstance(predictor, LangevinPredictor)
    windows = LaggedWindows(latents, config.jepa.lag, 1 if likelihood else c.rollout)
    nothing = torch.zeros(c.batch, 0)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        frames, lag = windows.sample(c.batch, generator)
        if isinstance(predictor, LangevinPredictor):
            return {"loss": -predictor.log_likelihood(frames[0], lag, frames[1]).mean()}
        path, errors = [frames[0]], []
        for target in frames[1:]:
            path.append(predictor.step(path[-1], lag, nothing))  # type: ignore[operator]
            errors.append((path[-1] - target).square().mean())
        loss = torch.stack(errors).mean()
        if kind != "hamiltonian-energy-term":
            return {"loss": loss}
        drift = conservation_loss([predictor.energy(z) for z in path])  # type: ignore[operator]
        return {"loss": loss + c.energy_term * drift, "prediction": loss, "conservation": drift}

    if isinstance(predictor, LangevinPredictor):
        first, lag = windows.sample(4096, torch.Generator().manual_seed(config.seed))
        predictor.match_moments(first[0], float(lag.median()), first[1])
    return Stage(name, predictor, losses, steps=steps, learning_rate=c.learning_rate, seed=config.seed)


def readout_stage(
    name: str, decoder: nn.Module, latents: Runs, targets: Sequence[NDArray[np.floating]], config: WorldConfig
) -> Stage:
    """Stage 3: a decoder of frozen latents to what the frames show, in squared error over the targets' variance.

    Args:
        name: of the stage.
        decoder: in training.
        latents: [frames, tokens, dim] of each trajectory.
        targets: what is read out, [frames, ...] of each trajectory.
        config: of the training.
    """
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
