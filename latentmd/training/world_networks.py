"""Encoders and read-outs of a world's observations, sized by the configuration and scaled by the training set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from latentmd.decoders.readout import VectorReadout
from latentmd.encoders.frames import FrameEncoder
from latentmd.encoders.sequence import SequenceEncoder
from latentmd.encoders.vectors import StandardEncoder, VectorEncoder
from latentmd.training.world_config import WorldConfig
from latentmd.training.world_data import Floats, Sample


_TYPICAL = 4000  # observations that fix means and deviations


def new_encoder(sample: Sample, config: WorldConfig) -> nn.Module:
    """An untrained encoder of the configured kind for observations like those of the sample."""
    c = config.encoder
    typical = _typical(sample.observations)
    builders: dict[str, Callable[[], nn.Module]] = {
        "vector": lambda: VectorEncoder(typical, c.tokens, c.dim, c.width, c.depth),
        "sequence": lambda: SequenceEncoder(typical, c.tokens, c.dim, c.width, c.depth),
        "frames": lambda: FrameEncoder(typical.shape[1], c.tokens, c.dim, c.width, typical.shape[2]),
        "standard": lambda: StandardEncoder(typical),
    }
    return builders[c.kind]()


def new_readout(targets: Sequence[Floats], tokens: int, dim: int, config: WorldConfig) -> nn.Module:
    """An untrained read-out of targets [frames, ...], one array per trajectory: pictures by convolutions."""
    return VectorReadout(tokens, dim, _typical(targets), config.decoder.width)


def _typical(arrays: Sequence[Floats]) -> Tensor:
    stride = max(1, sum(map(len, arrays)) // _TYPICAL)
    return torch.from_numpy(np.concatenate([np.asarray(a[::stride], dtype=np.float32) for a in arrays]))
