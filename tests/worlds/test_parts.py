"""Predictors of a world by name, and the stages that train them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentmd.systems.toy.double_well import DoubleWell
from latentmd.systems.toy.world import world
from latentmd.training.parts import PREDICTORS
from latentmd.training.run import TrainingRun
from latentmd.worlds.config import RECIPES, WorldConfig, world_config
from latentmd.worlds.parts import (
    new_encoder,
    new_predictor,
    new_readout,
    readout_stage,
    train_encoder,
    world_predictor_stage,
)
from latentmd.worlds.trajectories import world_data

CONFIG = WorldConfig.model_validate(
    {"world": "x", "observe": "y", "horizon": 3, "data": {"frames": 30},
     "predictor": {"width": 8, "batch": 16, "rollout": 2, "steps": 5},
     "jepa": {"rollout": 2, "steps": 7}, "decoder": {"batch": 16, "width": 8, "steps": 4}}
)  # fmt: skip
RUNS = [np.random.default_rng(i).normal(size=(30, 1, 4)).astype(np.float32) for i in range(2)]


@pytest.mark.parametrize("kind", [name for name, part in PREDICTORS.items() if not part.of_molecules])
def test_every_kind_can_be_made_and_trained(kind: str) -> None:
    torch.manual_seed(0)
    predictor = new_predictor(kind, 1, 4, CONFIG)
    z, noise = torch.from_numpy(RUNS[0][:5]), torch.zeros(5, int(predictor.noise_size))  # type: ignore[arg-type]
    assert predictor.step(z, torch.ones(5), noise).shape == z.shape  # type: ignore[operator]
    stage = world_predictor_stage(kind, predictor, RUNS, CONFIG, trained_before=True)
    loss = stage.losses(torch.Generator().manual_seed(0))["loss"]
    loss.backward()
    assert torch.isfinite(loss) and any(p.grad is not None and p.grad.abs().sum() > 0 for p in predictor.parameters())


def test_a_predictor_that_was_not_trained_before_gets_the_steps_of_stage_1_too() -> None:
    predictor = new_predictor("mlp", 1, 4, CONFIG)
    steps = [world_predictor_stage("mlp", predictor, RUNS, CONFIG, before).steps for before in (True, False)]
    assert steps == [5, 12]


def test_the_loss_of_a_readout_is_in_units_of_the_variance() -> None:
    class Mean(torch.nn.Module):
        def forward(self, z: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(z), 2) + 3.0

    targets = [3.0 + 5.0 * np.random.default_rng(i).normal(size=(30, 2)) for i in range(2)]
    stage = readout_stage("reader", Mean(), RUNS, targets, CONFIG)
    generator = torch.Generator().manual_seed(0)
    assert np.mean([float(stage.losses(generator)["loss"]) for _ in range(50)]) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    ("name", "observe"), [("double-pendulum", "coordinates"), ("two-balls", "pixels"), ("lennard-jones", "particles")]
)
def test_what_is_encoded_can_be_read_out(name: str, observe: str) -> None:
    changes = {"data": {"train": 4, "test": 1, "frames": 30}, "horizon": 2,
               "jepa": {"rollout": 1, "lag": (1, 1)}, "predictor": {"rollout": 1}}  # fmt: skip
    config = world_config(name, observe, RECIPES[name, observe], changes)
    data = world_data(world(name), config)
    torch.manual_seed(0)
    encoder = new_encoder(data, config).eval()
    shown = torch.from_numpy(np.array(data.train.observations[0][:3], dtype=np.float32))
    z = encoder(shown)
    assert z.shape[0] == 3 and z.ndim == 3
    readout = new_readout(data.train.seen, z.shape[1], z.shape[2], config)
    assert readout(z, torch.zeros(3, 0)).shape == data.train.seen[0][:3].shape


def test_an_encoder_without_weights_is_used_as_it_is(tmp_path) -> None:
    config = world_config("double-well", "state", RECIPES["double-well", "state"], {"data": {"train": 2, "test": 1}})
    data = world_data(DoubleWell(), config)
    run = TrainingRun(tmp_path, tmp_path / "log.csv", lambda *_: None, "cpu", "32-true", devices=1, resume=False)
    found, predictor = train_encoder(data, config, run)
    assert predictor is None and not found.training and not list(tmp_path.iterdir())
    every = torch.from_numpy(np.concatenate(data.train.observations))
    torch.testing.assert_close(found(every)[:, 0], (every - every.mean(0)) / every.std(0), atol=0.05, rtol=0)
