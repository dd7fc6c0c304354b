"""What a world's latent holds, how far its predictors reach, populations and rates, on held-out trajectories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.analysis.representation import axis_deviations, linear_probe_r2, rank_me
from latentmd.arrays import Doubles, Floats
from latentmd.core.rollout import rollout
from latentmd.systems.toy.world import World
from latentmd.worlds.data import WorldData, radial_distribution, vector_state
from latentmd.worlds.model import WorldModel

_CHAINS, _STEPS, _SETTLE = 2048, 2000, 800
_CORE = 1.0  # kT above the bottom of a basin: the core of it, which a transition has to reach
_BLOCKS = 8


def is_stochastic(world: World) -> bool:
    """Whether a world has metastable states with known populations."""
    return hasattr(world, "populations")


def ensemble_figures(
    model: WorldModel, latents: list[NDArray[np.float32]], data: WorldData, seed: int
) -> dict[str, Any]:
    """Populations, rates and second moments of long rollouts, from frames at equilibrium, and of the world itself.

    Of each quantity: exact or None, of the world's trajectories, of rollouts; the latter two with a deviation.
    """
    world: Any = data.world
    pool = np.concatenate([z[:: max(1, len(z) // 8)] for z in latents])
    start = torch.from_numpy(pool[np.linspace(0, len(pool) - 1, _CHAINS).astype(int)])
    generator = torch.Generator().manual_seed(seed)
    path = list(rollout(model.predictor, start, 1.0, _STEPS, generator))[_SETTLE:]
    shown = read(model.reader, torch.stack(path, dim=1))
    found = vector_state(world, shown, data.train.states[0].shape[1:])
    reference = np.stack(data.train.states)
    figures: dict[str, Any] = {}
    for name, value in world.populations().items():
        figures[f"population {name}"] = _row(value, *(_population(world, s, name) for s in (reference, found)))
    for name in world.populations():
        figures[f"rate out of {name}"] = _row(None, *(_rate(world, s, name) for s in (reference, found)))
    for axis in range(found.shape[-1]):
        figures[f"variance of {axis}"] = _row(None, *(_variance(s[..., axis]) for s in (reference, found)))
    return figures


def structure_figures(data: WorldData, truth: Doubles, found: Doubles) -> dict[str, float]:
    """Structure and temperature of forecasts [starts, horizon + 1, particles, 1 + shells] of particles against the
    world.

    The RMS difference of g(r) over its RMS distance from 1 (an ideal gas), of the last half of the horizon, and the
    mean kinetic energy per particle at the last step over the true one.
    """
    half = truth.shape[1] // 2
    r, expected = radial_distribution(data.particles(), truth[:, half:])
    _, g = radial_distribution(data.particles(), found[:, half:])
    weight = r  # shells grow with the radius
    scale = np.sqrt(np.average((expected - 1) ** 2, weights=weight))
    return {
        "rdf_error": float(np.sqrt(np.average((g - expected) ** 2, weights=weight)) / scale),
        "temperature_ratio": float(found[:, -1, :, 0].mean() / truth[:, -1, :, 0].mean()),
    }


def _row(exact: float | None, *estimates: tuple[float, float]) -> dict[str, Any]:
    world, model = estimates
    return {"exact": exact, "world": world[0], "world_deviation": world[1],
            "model": model[0], "model_deviation": model[1]}  # fmt: skip


def _variance(of_runs: Floats) -> tuple[float, float]:
    """About the mean of all runs, so that short runs that stay in one basin count what they do not visit."""
    return _blocks(((of_runs - of_runs.mean()) ** 2).mean(axis=1))


def _blocks(of_runs: Floats) -> tuple[float, float]:
    parts = np.array([of_runs[i::_BLOCKS].mean() for i in range(_BLOCKS)])
    return float(parts.mean()), float(parts.std(ddof=1) / math.sqrt(_BLOCKS))


def _positions(world: Any, states: Floats) -> Floats:
    return states[..., : world.dimensions]


def _population(world: Any, states: Floats, name: str) -> tuple[float, float]:
    return _blocks(world.basins(_positions(world, states))[name].mean(axis=1))


def _rate(world: Any, states: Floats, name: str) -> tuple[float, float]:
    """Transitions from the core of a basin to that of another, over the time that belongs to the first."""
    q = _positions(world, states)
    basins, energy = cast(dict[str, NDArray[np.bool_]], world.basins(q)), world.potential(q) / world.kT
    core = np.full(q.shape[:-1], -1)
    for i, inside in enumerate(basins.values()):
        core[inside & (energy < energy[inside].min() + _CORE)] = i
    own = list(basins).index(name)
    jumps, time = np.zeros(len(core)), np.zeros(len(core))
    for i, row in enumerate(core):
        visited = np.flatnonzero(row >= 0)
        if len(visited) < 2:
            continue
        last = row[visited]
        leaves = (last[:-1] == own) & (last[1:] != own)
        jumps[i] = leaves.sum()
        time[i] = np.diff(visited)[last[:-1] == own].sum() * world.interval
    rates = [jumps[i::_BLOCKS].sum() / max(time[i::_BLOCKS].sum(), 1e-9) for i in range(_BLOCKS)]
    return float(np.mean(rates)), float(np.std(rates, ddof=1) / math.sqrt(_BLOCKS))


Runs = list[NDArray[np.float32]]
PERSISTENCE = "persistence"


class Persistence(nn.Module):
    """ẑ(t + τ) = z(t): the baseline that nothing moves."""

    noise_size: int = 0

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """The tokens as they are."""
        return z


@dataclass(frozen=True)
class Forecasts:
    """Rollouts from several starts of held-out trajectories: latents [starts, horizon + 1, tokens, dim], with the
    starting frame, true and of each predictor; run and frame of each start.
    """

    truth: Tensor
    predicted: dict[str, Tensor]
    run: NDArray[np.intp]
    frame: NDArray[np.intp]


def forecast(
    predictors: Mapping[str, nn.Module], latents: Runs, lag: int, horizon: int, seed: int, starts: int = 4
) -> Forecasts:
    """Roll every predictor out for `horizon` steps of `lag` frames from `starts` frames of each trajectory, with one
    noise.
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
    """Cosine of predicted and true tokens, R² of the latent, and gain over persistence, over one step of `lag`."""
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
    """RMS error over starts and quantities [starts, horizon + 1, ..., quantities] over their spread, [horizon + 1]."""
    squares = ((found - truth) / spread) ** 2
    return np.asarray(np.sqrt(squares.mean(axis=(0, *range(2, squares.ndim)))))


def forecast_errors(found: Doubles, truth: Doubles, spread: Doubles) -> dict[str, float]:
    """The forecast curve at a few steps and on average."""
    error = forecast_curve(found, truth, spread)
    horizon = len(error) - 1
    marks = sorted({1, min(10, horizon), horizon})
    return {f"step {k}": float(error[k]) for k in marks} | {"mean": float(error[1:].mean())}


def energy_drift(energies: Doubles, scale: float) -> dict[str, float]:
    """Mean over starts of |E_k − E_0| over a scale, of energies [starts, horizon + 1]: at the last step, and the
    largest.
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
    """Held-out R² of a linear read-out of each named target from latents [frames, tokens, dim]; of several values the
    worst.

    A target [frames, particles, values] is read from each particle's token, a target [frames, values] from all tokens
    of a frame, or from their mean where the world has particles.
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
