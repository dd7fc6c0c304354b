"""Figures of a trained world whose parts are known."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from latentmd.encoders.vectors import StandardEncoder
from latentmd.systems.toy.double_well import DoubleWell
from latentmd.training.run import TrainingRun
from latentmd.worlds.config import world_config
from latentmd.worlds.data import world_data
from latentmd.worlds.train import train_encoder


def test_an_encoder_without_weights_is_used_as_it_is(tmp_path) -> None:
    config = world_config("double-well", "state", {}, {"data": {"train": 2, "test": 1}})
    data = world_data(DoubleWell(), config)
    run = TrainingRun(tmp_path, tmp_path / "log.csv", lambda *_: None, "cpu", "32-true", devices=1, resume=False)
    given: nn.Module = StandardEncoder(torch.from_numpy(np.concatenate(data.train.observations)))
    found, predictor = train_encoder(data, config, run, given)
    assert found is given and predictor is None and not list(tmp_path.iterdir())
