"""Encoders and verification decoders of a world, sized by the configuration and scaled by the training set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from latentmd.arrays import Floats
from latentmd.decoders.state import PictureDecoder, StateDecoder, TokenDecoder
from latentmd.encoders.convolutions import ConvolutionalEncoder
from latentmd.encoders.frames import FrameEncoder
from latentmd.encoders.particles import ParticleEncoder
from latentmd.encoders.sequence import SequenceEncoder
from latentmd.encoders.vectors import StandardEncoder, VectorEncoder
from latentmd.worlds.config import WorldConfig
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
