"""A frozen encoder from elsewhere in place of a world's own: used as it is, and the rest is trained on its latents."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from latentmd.encoders.external import ExternalEncoder
from latentmd.systems.toy.two_balls import TwoBalls
from latentmd.training.run import TrainingRun
from latentmd.worlds.config import world_config
from latentmd.worlds.data import world_data
from latentmd.worlds.stages import train_encoder, train_parts

TINY = {
    "horizon": 3,
    "data": {"train": 4, "test": 2, "frames": 10},
    "jepa": {"steps": 3, "batch": 8, "rollout": 1},
    "predictor": {"steps": 3, "batch": 8, "width": 8, "rollout": 2, "rivals": ()},
    "decoder": {"steps": 3, "batch": 8, "width": 8},
}


def test_a_frozen_encoder_is_used_as_it_is(tmp_path: Path) -> None:
    config = world_config("two-balls", "state", {}, TINY)
    data = world_data(TwoBalls(), config)
    run = TrainingRun(
        tmp_path,
        tmp_path / "training.csv",
        report=lambda *_: None,
        device="cpu",
        precision="32-true",
        devices=1,
        resume=False,
    )
    torch.manual_seed(1)
    module = nn.Linear(8, 6)
    before = module.weight.clone()
    encoder, start = train_encoder(data, config, run, ExternalEncoder(module))
    assert start is None and not encoder.training
    trained = train_parts(data, config, run, ExternalEncoder(module))
    assert torch.equal(module.weight, before)
    with torch.no_grad():
        expected = module(torch.from_numpy(data.test.observations[0]))
    torch.testing.assert_close(torch.from_numpy(trained.test[0])[:, 0], expected)
    assert set(trained.predictors) == {"residual", "persistence"}
    assert not (tmp_path / "jepa.pt").exists()
