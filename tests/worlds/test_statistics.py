"""Populations, rates and structure: estimators against worlds whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentmd.systems.toy.double_well import DoubleWell
from latentmd.systems.toy.lennard_jones import LennardJones
from latentmd.worlds import statistics
from latentmd.worlds.config import world_config
from latentmd.worlds.data import world_data
from latentmd.worlds.model import WorldModel

SMALL = {"horizon": 4, "data": {"train": 24, "test": 2, "frames": 60}, "predictor": {"rollout": 2}}


class Process(nn.Module):
    """The world itself as a predictor: one saved interval of its BAOAB steps, for tokens that are states."""

    def __init__(self, world: DoubleWell) -> None:
        super().__init__()
        self.world, self.noise_size = world, world.stride

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        draws = noise.double().numpy().T[..., None]
        states, _ = self.world._advance(z[:, 0].double().numpy(), draws, draws[-1])
        return torch.from_numpy(states).float().unsqueeze(1)


class Tokens(nn.Module):
    """Tokens flattened, as the read-out."""

    def forward(self, z: Tensor, noise: Tensor) -> Tensor:
        return z.flatten(1)


def test_the_world_as_its_own_model_has_its_own_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_STEPS", 500)
    monkeypatch.setattr(statistics, "_SETTLE", 100)
    monkeypatch.setattr(statistics, "_CHAINS", 256)
    world = DoubleWell(stride=5, timestep=0.02, barrier=2.0)
    data = world_data(world, world_config("double-well", "state", {}, {**SMALL, "data": {
        "train": 120, "test": 2, "frames": 300}}))  # fmt: skip
    latents = [s[:, None].astype(np.float32) for s in data.train.states]
    model = WorldModel(nn.Identity(), Process(world), Tokens(), Tokens())
    figures = statistics.ensemble_figures(model, latents, data, 0)
    assert set(figures) == {"population left", "population right", "rate out of left", "rate out of right",
                            "variance of 0", "variance of 1"}  # fmt: skip
    for name, row in figures.items():
        deviation = float(np.hypot(row["world_deviation"], row["model_deviation"]))
        assert abs(row["world"] - row["model"]) < 4 * deviation, name
        assert deviation < 0.15 * row["world"], name
    left = figures["population left"]
    assert left["exact"] == pytest.approx(left["model"], abs=4 * left["model_deviation"])
    # detailed balance of the two-state process
    flux = [
        figures[f"population {side}"]["model"] * figures[f"rate out of {side}"]["model"] for side in ("left", "right")
    ]
    assert flux[0] == pytest.approx(flux[1], rel=0.25)


def test_structure_of_true_frames_is_right_and_of_shuffled_shells_is_not() -> None:
    world = LennardJones(particles=16, density=0.4, settle=0.5, cutoff=2.0)
    data = world_data(world, world_config("lennard-jones", "particles", {}, SMALL))
    truth = np.stack(data.test.quantities)[:, :5]
    same = statistics.structure_figures(data, truth, truth)
    assert same == {"rdf_error": 0.0, "temperature_ratio": 1.0}
    wrong = np.concatenate([2 * truth[..., :1], truth[..., :0:-1]], axis=-1)
    found = statistics.structure_figures(data, truth, wrong)
    assert found["rdf_error"] > 1 and found["temperature_ratio"] == pytest.approx(2.0)


def test_which_worlds_are_stochastic() -> None:
    assert statistics.is_stochastic(DoubleWell())
    assert not statistics.is_stochastic(LennardJones(particles=16, density=0.4, cutoff=2.0))
