"""Figures of worlds against latents whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentmd.systems.toy.double_well import DoubleWell
from latentmd.systems.toy.lennard_jones import LennardJones
from latentmd.worlds import evaluation
from latentmd.worlds.config import world_config
from latentmd.worlds.model import WorldModel
from latentmd.worlds.trajectories import world_data

TURN = 0.3  # rad per frame of the rotating latent


class Turn(nn.Module):
    """The exact step of the rotating latent."""

    noise_size: int = 0

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        c, s = torch.cos(TURN * lag)[:, None], torch.sin(TURN * lag)[:, None]
        return torch.stack([c * z[..., 0] - s * z[..., 1], s * z[..., 0] + c * z[..., 1]], dim=-1)


class Same(nn.Module):
    """The tokens, flattened, as the read-out."""

    def forward(self, z: Tensor, noise: Tensor) -> Tensor:
        return z.flatten(1)


class Walk(nn.Module):
    """z' = z + lag + noise."""

    noise_size: int = 2

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        return z + lag.reshape(-1, 1, 1) + noise.unsqueeze(1)


def test_rollout_equals_stepping_by_hand() -> None:
    z0 = torch.zeros(3, 1, 2)
    generator = torch.Generator().manual_seed(5)
    by_hand, path = z0, []
    for _ in range(6):
        by_hand = by_hand + 2.0 + torch.randn(3, 2, generator=generator).unsqueeze(1)
        path.append(by_hand)
    found = list(evaluation.rollout(Walk(), z0, 2.0, 6, torch.Generator().manual_seed(5)))
    torch.testing.assert_close(torch.stack(found), torch.stack(path))
    assert torch.equal(z0, torch.zeros(3, 1, 2))


def circles(runs: int, frames: int) -> list[np.ndarray]:
    phases = np.linspace(0, 2 * np.pi, runs, endpoint=False)
    angle = phases[:, None] + TURN * np.arange(frames)
    return list(np.stack([np.cos(angle), np.sin(angle)], axis=-1)[:, :, None].astype(np.float32))


def test_one_step_scores_of_the_exact_step_and_of_persistence() -> None:
    exact = evaluation.one_step_scores(Turn(), circles(8, 30), 1)
    assert exact == pytest.approx({"cosine": 1.0, "r2": 1.0, "gain": 1.0}, abs=1e-5)
    still = evaluation.one_step_scores(evaluation.Persistence(), circles(8, 30), 1)
    assert still["cosine"] == pytest.approx(math.cos(TURN), abs=1e-5)
    # error 2 − 2 cos over both axes, whose variances add up to 1
    assert still["r2"] == pytest.approx(1 - (2 - 2 * math.cos(TURN)), abs=1e-2)
    assert still["gain"] == pytest.approx(0.0, abs=1e-6)


def test_forecasts_start_where_they_say_and_follow_the_predictor() -> None:
    latents = circles(3, 25)
    made = evaluation.forecast({"turn": Turn(), "still": evaluation.Persistence()}, latents, 2, 10, 0, starts=2)
    assert made.truth.shape == (6, 11, 1, 2)
    for start, (run, frame) in enumerate(zip(made.run, made.frame, strict=True)):
        np.testing.assert_array_equal(made.truth[start, 3], latents[run][frame + 6])
    torch.testing.assert_close(made.predicted["turn"], made.truth, rtol=0, atol=1e-4)
    truth, still = (evaluation.read(Same(), z) for z in (made.truth, made.predicted["still"]))
    errors = evaluation.forecast_errors(evaluation.forecast_curve(still, truth, np.ones(2)))
    assert errors["step 1"] == pytest.approx(math.sqrt((2 - 2 * math.cos(2 * TURN)) / 2), rel=1e-4)
    assert errors["step 10"] == pytest.approx(math.sqrt((2 - 2 * math.cos(20 * TURN)) / 2), rel=1e-4)


def test_a_forecast_longer_than_the_trajectories_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 30 frames; the shortest test trajectory has 25"):
        evaluation.forecast({"turn": Turn()}, circles(3, 25), 3, 10, 0)


def test_probes_find_what_is_linear_and_nothing_else() -> None:
    train, test = circles(6, 40), circles(5, 40)
    generator = np.random.default_rng(0)

    def targets(runs: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
        linear = [run[:, 0] @ np.array([[2.0, 0.0], [-1.0, 1.0]]) + 3 for run in runs]
        return {"linear": linear, "noise": [generator.standard_normal((len(run), 1)) for run in runs]}

    scores = evaluation.probes(train, targets(train), test, targets(test))
    assert scores["linear"] == pytest.approx(1.0, abs=1e-4)
    assert scores["noise"] < 0.1


def test_probes_of_particles_use_their_own_tokens_and_of_frames_the_mean() -> None:
    generator = np.random.default_rng(0)
    sets = [[generator.standard_normal((50, 4, 3)).astype(np.float32) for _ in range(4)] for _ in range(2)]
    targets = [
        {"own": [run[..., :1] * 2 for run in runs], "mean": [run.mean(1)[:, :1] for run in runs]} for runs in sets
    ]
    scores = evaluation.probes(sets[0], targets[0], sets[1], targets[1])
    assert scores == pytest.approx({"own": 1.0, "mean": 1.0}, abs=1e-4)


def test_energy_drift() -> None:
    energies = np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]])
    assert evaluation.energy_drift(energies, 2.0) == {"last": 0.25, "largest": 0.5}


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
    monkeypatch.setattr(evaluation, "_STEPS", 500)
    monkeypatch.setattr(evaluation, "_SETTLE", 100)
    monkeypatch.setattr(evaluation, "_CHAINS", 256)
    world = DoubleWell(stride=5, timestep=0.02, barrier=2.0)
    data = world_data(world, world_config("double-well", "state", {}, {**SMALL, "data": {
        "train": 120, "test": 2, "frames": 300}}))  # fmt: skip
    latents = [s[:, None].astype(np.float32) for s in data.train.states]
    model = WorldModel(nn.Identity(), Process(world), Tokens(), Tokens())
    figures = evaluation.ensemble_figures(model, latents, data, 0)
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


def test_a_basin_that_nobody_visits_has_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_STEPS", 20), ("_SETTLE", 5), ("_CHAINS", 8)):
        monkeypatch.setattr(evaluation, name, value)
    world = DoubleWell(tilt=6.0)
    data = world_data(world, world_config("double-well", "state", {}, {**SMALL, "data": {"train": 3, "frames": 55}}))
    latents = [s[:, None].astype(np.float32) for s in data.train.states]
    figures = evaluation.ensemble_figures(
        WorldModel(nn.Identity(), Process(world), Tokens(), Tokens()), latents, data, 0
    )
    assert figures["population right"]["model"] == 0 and figures["rate out of right"]["model"] == 0
    assert all(np.isfinite(row["model_deviation"]) for row in figures.values())


def test_structure_of_true_frames_is_right_and_of_shuffled_shells_is_not() -> None:
    world = LennardJones(particles=16, density=0.4, settle=0.5, cutoff=2.0)
    data = world_data(world, world_config("lennard-jones", "particles", {}, SMALL))
    truth = np.stack(data.test.quantities)[:, :5]
    same = evaluation.structure_figures(data, truth, truth)
    assert same == {"rdf_error": 0.0, "temperature_ratio": 1.0}
    wrong = np.concatenate([2 * truth[..., :1], truth[..., :0:-1]], axis=-1)
    found = evaluation.structure_figures(data, truth, wrong)
    assert found["rdf_error"] > 1 and found["temperature_ratio"] == pytest.approx(2.0)
