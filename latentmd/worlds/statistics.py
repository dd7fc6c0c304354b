"""Populations and rates of a stochastic world's model, beside those of the world."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Floats
from latentmd.core.rollout import rollout
from latentmd.systems.toy.world import World
from latentmd.worlds import evaluation
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
    """Populations, rates and second moments of long rollouts and of the world's own trajectories, with deviations.

    Args:
        model: encoder, stochastic predictor and read-outs.
        latents: of trajectories at equilibrium, from whose frames the rollouts start.
        data: of a stochastic world.
        seed: of the rollouts' noise.

    Returns:
        For each quantity (exact or None, world's trajectories, rollouts), the latter two with a deviation over blocks.
    """
    world: Any = data.world
    pool = np.concatenate([z[:: max(1, len(z) // 8)] for z in latents])
    start = torch.from_numpy(pool[np.linspace(0, len(pool) - 1, _CHAINS).astype(int)])
    generator = torch.Generator().manual_seed(seed)
    path = list(rollout(model.predictor, start, 1.0, _STEPS, generator))[_SETTLE:]
    read = evaluation.read(model.reader, torch.stack(path, dim=1))
    found = vector_state(world, read, data.train.states[0].shape[1:])
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
    """Radial distribution and temperature of forecasts of particles against the world's frames at the same times.

    Args:
        data: of a world of particles.
        truth, found: quantities [starts, horizon + 1, particles, 1 + shells].

    Returns:
        The RMS difference of g(r) over its RMS distance from 1 (an ideal gas), of the last half of the horizon, and
        the mean kinetic energy per particle at the last step over the true one.
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
