"""What a world's latent holds and how far its predictors reach, on held-out trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.analysis.representation import axis_deviations, linear_probe_r2, rank_me
from latentmd.arrays import Doubles
from latentmd.core.rollout import rollout

Runs = list[NDArray[np.float32]]
PERSISTENCE = "persistence"


class Persistence(nn.Module):
    """ẑ(t + τ) = z(t): the baseline that nothing moves."""

    noise_size: int = 0

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """The tokens as they are.

        Args:
            z: latents [batch, tokens, dim].
            lag, noise: not used.
        """
        return z


@dataclass(frozen=True)
class Forecasts:
    """Rollouts from several starts of held-out trajectories.

    Attributes:
        truth: latents of the frames to come, [starts, horizon + 1, tokens, dim], the starting frame first.
        predicted: the same for each predictor.
        run, frame: trajectory and frame of each start.
    """

    truth: Tensor
    predicted: dict[str, Tensor]
    run: NDArray[np.intp]
    frame: NDArray[np.intp]


def forecast(
    predictors: Mapping[str, nn.Module], latents: Runs, lag: int, horizon: int, seed: int, starts: int = 4
) -> Forecasts:
    """Roll every predictor out for `horizon` steps of `lag` frames from `starts` frames of each trajectory.

    Args:
        predictors: by name.
        latents: [frames, tokens, dim] of each trajectory.
        lag: frames.
        horizon: steps.
        seed: of the noise, the same for every predictor.
        starts: frames of each trajectory that forecasts start from.

    Raises:
        ValueError: no trajectory is long enough.
    """
    length = min(map(len, latents)) - horizon * lag
    if length < 1:
        raise ValueError(
            f"a forecast of {horizon} steps of {lag} frames needs more than {horizon * lag} frames; the shortest test "
            f"trajectory has {min(map(len, latents))}"
        )
    frames = np.unique(np.linspace(0, length - 1, starts).astype(int))
    run, frame = np.repeat(np.arange(len(latents)), len(frames)), np.tile(frames, len(latents))
    steps = lag * np.arange(horizon + 1)
    truth = torch.from_numpy(np.stack([latents[r][f + steps] for r, f in zip(run, frame, strict=True)]))
    predicted = {}
    for name, predictor in predictors.items():
        generator = torch.Generator().manual_seed(seed)
        path = list(rollout(predictor.eval(), truth[:, 0], float(lag), horizon, generator))
        predicted[name] = torch.stack([truth[:, 0], *path], dim=1)
    return Forecasts(truth, predicted, run, frame)


def one_step_scores(predictor: nn.Module, latents: Runs, lag: int) -> dict[str, float]:
    """Cosine of predicted and true tokens, R² of the latent, and gain over persistence, over one step of `lag`.

    Args:
        predictor: under test.
        latents: [frames, tokens, dim] of each trajectory.
        lag: frames.
    """
    now = torch.from_numpy(np.concatenate([z[:-lag] for z in latents]))
    future = torch.from_numpy(np.concatenate([z[lag:] for z in latents]))
    size = int(predictor.noise_size)  # type: ignore[arg-type]
    noise = torch.zeros(len(now), size)  # the most likely step of a stochastic predictor
    with torch.no_grad():
        found = predictor.step(now, torch.full((len(now),), float(lag)), noise)  # type: ignore[operator]
    error = float((found - future).square().mean())
    spread = float((future - future.mean(0)).square().mean())
    still = float((now - future).square().mean())
    cosine = nn.functional.cosine_similarity(found, future, dim=-1).mean()
    return {"cosine": float(cosine), "r2": 1 - error / spread, "gain": 1 - error / max(still, 1e-12)}


@torch.no_grad()
def read(reader: nn.Module, z: Tensor) -> Doubles:
    """Read-out of latents [..., tokens, dim], [..., quantities]."""
    flat = z.reshape(-1, *z.shape[-2:])
    parts = [reader(part, torch.zeros(len(part), 0)) for part in flat.split(2048)]
    out = torch.cat(parts)
    return out.reshape(*z.shape[:-2], *out.shape[1:]).double().numpy()


def forecast_curve(found: Doubles, truth: Doubles, spread: Doubles) -> Doubles:
    """RMS error over starts and quantities [starts, horizon + 1, ..., quantities] over their spread, [horizon + 1].

    Args:
        found, truth: quantities [starts, horizon + 1, ...].
        spread: of each quantity.
    """
    squares = ((found - truth) / spread) ** 2
    return np.asarray(np.sqrt(squares.mean(axis=(0, *range(2, squares.ndim)))))


def forecast_errors(found: Doubles, truth: Doubles, spread: Doubles) -> dict[str, float]:
    """The forecast curve at a few steps and on average.

    Args:
        found, truth: quantities [starts, horizon + 1, ...].
        spread: of each quantity.
    """
    error = forecast_curve(found, truth, spread)
    horizon = len(error) - 1
    marks = sorted({1, min(10, horizon), horizon})
    return {f"step {k}": float(error[k]) for k in marks} | {"mean": float(error[1:].mean())}


def energy_drift(energies: Doubles, scale: float) -> dict[str, float]:
    """Mean over starts of |E_k − E_0| over a scale: at the last step and the largest on the way.

    Args:
        energies: physical energy of decoded states, [starts, horizon + 1].
        scale: of the energy, see `WorldData.energy_scale`.
    """
    change = np.abs(energies - energies[:, :1]) / scale
    return {"last": float(change[:, -1].mean()), "largest": float(change.max(axis=1).mean())}


def latent_quality(latents: Runs) -> dict[str, float]:
    """Effective rank and the smallest and mean deviation of the axes."""
    flat = np.concatenate(latents).reshape(sum(map(len, latents)), -1).astype(np.float64)
    smallest, mean = axis_deviations(flat)
    return {"rank": rank_me(flat), "std_min": smallest, "std_mean": mean}


def probes(
    train: Runs,
    targets: Mapping[str, Sequence[NDArray[np.floating]]],
    test: Runs,
    test_targets: Mapping[str, Sequence[NDArray[np.floating]]],
) -> dict[str, float]:
    """Held-out R² of a linear read-out of each named target; of several values the worst.

    A target [frames, particles, values] is read from each particle's token, a target [frames, values] from all tokens
    of a frame, or from their mean where the world has particles.

    Args:
        train, test: latents [frames, tokens, dim] of each trajectory.
        targets, test_targets: by name, of each trajectory.
    """
    of_particles = any(values[0].ndim == 3 for values in targets.values())
    scores = {}
    for name, values in targets.items():
        by_token = values[0].ndim == 3
        x, x_test = (_features(latents, by_token, of_particles) for latents in (train, test))
        y, y_test = (np.concatenate(v).reshape(-1, v[0].shape[-1]) for v in (values, test_targets[name]))
        scores[name] = float(np.min(linear_probe_r2(x, y, x_test, y_test)))
    return scores


def _features(latents: Runs, by_token: bool, pooled: bool) -> Doubles:
    z = np.concatenate(latents).astype(np.float64)
    if by_token:
        return z.reshape(-1, z.shape[-1])
    return z.mean(1) if pooled else z.reshape(len(z), -1)
