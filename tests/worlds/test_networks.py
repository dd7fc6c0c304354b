"""Encoders and decoders of a world, by what it shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentmd.systems.toy.world import world
from latentmd.worlds.config import world_config
from latentmd.worlds.data import world_data
from latentmd.worlds.networks import new_encoder, new_readout
from latentmd.worlds.recipes import recipe


@pytest.mark.parametrize(
    ("name", "observe"), [("double-pendulum", "coordinates"), ("two-balls", "pixels"), ("lennard-jones", "particles")]
)
def test_what_is_encoded_can_be_read_out(name: str, observe: str) -> None:
    changes = {"data": {"train": 4, "test": 1, "frames": 30}, "horizon": 2,
               "jepa": {"rollout": 1, "lag": (1, 1)}, "predictor": {"rollout": 1}}  # fmt: skip
    config = world_config(name, observe, recipe(name, observe), changes)
    data = world_data(world(name), config)
    torch.manual_seed(0)
    encoder = new_encoder(data, config).eval()
    shown = torch.from_numpy(np.array(data.train.observations[0][:3], dtype=np.float32))
    z = encoder(shown)
    assert z.shape[0] == 3 and z.ndim == 3
    readout = new_readout(data.train.seen, z.shape[1], z.shape[2], config)
    assert readout(z, torch.zeros(3, 0)).shape == data.train.seen[0][:3].shape
