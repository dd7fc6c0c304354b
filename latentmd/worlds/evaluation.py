"""What a world's latent holds, how far its predictors reach, populations and rates, on held-out trajectories."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.analysis.metric import Document
from latentmd.analysis.representation import axis_deviations, linear_probe_r2, rank_me
from latentmd.arrays import Doubles, Floats
from latentmd.systems.toy.langevin import LangevinWorld
from latentmd.systems.toy.particles import radial_distribution
from latentmd.worlds.config import WorldConfig
from latentmd.worlds.model import WorldModel
from latentmd.worlds.parts import Runs, TrainedWorld
from latentmd.worlds.trajectories import Sample, WorldData

_CHAINS, _STEPS, _SETTLE = 2048, 2000, 800
_CORE = 1.0  # kT above the bottom of a basin: the core of it, which a transition has to reach
_BLOCKS = 8
_ROW = ("exact", "world", "world_deviation", "model", "model_deviation")  # of a quantity
Estimate = tuple[float, float]  # a mean and its standard deviation


def measure(
    trained: TrainedWorld, data: WorldData, config: WorldConfig
) -> tuple[Document, dict[str, dict[str, Doubles]]]:
    """All figures of a training on held-out trajectories, for JSON; "errors" and "drifts" over the horizon."""
    lag, horizon = config.jepa.lag[0], config.horizon
    predictors = {**trained.predictors, "persistence": Persistence()}
    axes = _features(trained.test, by_token=False, pooled=False)
    figures: Document = {
        "latent": dict(zip(("rank", "std_min", "std_mean"), (rank_me(axes), *axis_deviations(axes)), strict=True)),
        "probe_r2": probes(trained.train, data.train.probes, trained.test, data.test.probes),
        "reconstruction": _reconstruction(trained, data.test),
        "predictors": {},
    }
    made = forecast(predictors, trained.test, lag, horizon, config.seed)
    steps = lag * np.arange(horizon + 1)
    truth = np.stack([data.test.quantities[r][f + steps] for r, f in zip(made.run, made.frame, strict=True)])
    spread = np.concatenate(data.train.quantities).reshape(-1, truth.shape[-1]).std(0)
    spread = np.maximum(spread, 1e-3 * spread.max())  # an innermost shell of neighbours may always be empty
    found = {name: read(trained.model.reader, z) for name, z in made.predicted.items()}
    energies, scale = {name: data.energies(values) for name, values in found.items()}, data.energy_scale()
    errors = {name: forecast_curve(values, truth, spread) for name, values in found.items()}
    for name, predictor in predictors.items():
        figures["predictors"][name] = {
            "parameters": sum(p.numel() for p in predictor.parameters()),
            "one_step": one_step_scores(predictor, trained.test, lag),
            "forecast": forecast_errors(errors[name]),
            "energy_drift": energy_drift(energies[name], scale),
        }
    if isinstance(data.world, LangevinWorld):
        figures["ensemble"] = ensemble_figures(trained.model, trained.train, data, config.seed)
    if data.fluid:
        figures["structure"] = {name: structure_figures(data, truth, values) for name, values in found.items()}
    drifts = {name: (np.abs(values - values[:, :1]) / scale).mean(0) for name, values in energies.items()}
    return figures, {"errors": errors, "drifts": drifts}


def _reconstruction(trained: TrainedWorld, sample: Sample) -> dict[str, float]:
    """Squared error of decoded frames over the variance of what was seen, and its square root in its own units."""
    total, spread, count = 0.0, 0.0, 0
    mean = np.mean([s.astype(np.float64).mean(0) for s in sample.seen], axis=0)
    for latents, seen in zip(trained.test, sample.seen, strict=True):
        total += float(((read(trained.model.decoder, torch.from_numpy(latents)) - seen) ** 2).sum())
        spread += float(((seen - mean) ** 2).sum())
        count += seen.size
    return {"rms_error": (total / count) ** 0.5, "r2": 1 - total / spread}


def ensemble_figures(model: WorldModel, latents: Runs, data: WorldData, seed: int) -> Document:
    """Populations, rates, variances: exact or None, of the world, of long rollouts; the last two with deviations."""
    world = data.world
    assert isinstance(world, LangevinWorld)
    pool = np.concatenate([z[:: max(1, len(z) // 8)] for z in latents])
    start = torch.from_numpy(pool[np.linspace(0, len(pool) - 1, _CHAINS).astype(int)])
    path = list(rollout(model.predictor, start, 1.0, _STEPS, torch.Generator().manual_seed(seed)))[_SETTLE:]
    both = np.stack(data.train.states), data.states(read(model.reader, torch.stack(path, dim=1)))
    populations = world.populations()
    wanted: dict[str, tuple[float | None, Callable[[Doubles], Estimate]]] = {
        **{f"population {name}": (exact, partial(_population, world, name)) for name, exact in populations.items()},
        **{f"rate out of {name}": (None, partial(_rate, world, name)) for name in populations},
        **{f"variance of {axis}": (None, partial(_variance, axis)) for axis in range(both[1].shape[-1])},
    }
    figures = {}
    for name, (exact, estimate) in wanted.items():
        figures[name] = dict(zip(_ROW, (exact, *estimate(both[0]), *estimate(both[1])), strict=True))
    return figures


def structure_figures(data: WorldData, truth: Doubles, found: Doubles) -> dict[str, float]:
    """Relative RMS error of g(r) in the last half of forecasts [starts, steps, particles, 1 + shells]; temperature."""
    assert data.fluid
    half, (box, dimensions) = truth.shape[1] // 2, (data.fluid.box, data.fluid.dimensions)
    r, expected = radial_distribution(truth[:, half:, :, 1:], box, dimensions)  # shells grow: r is their weight
    _, g = radial_distribution(found[:, half:, :, 1:], box, dimensions)
    scale = np.sqrt(np.average((expected - 1) ** 2, weights=r))
    return {
        "rdf_error": float(np.sqrt(np.average((g - expected) ** 2, weights=r)) / scale),
        "temperature_ratio": float(found[:, -1, :, 0].mean() / truth[:, -1, :, 0].mean()),
    }


def _variance(axis: int, states: Doubles) -> Estimate:
    """About the mean of all runs, so that short runs that stay in one basin count what they do not visit."""
    of_runs = states[..., axis]
    return _blocks(((of_runs - of_runs.mean()) ** 2).mean(axis=1))


def _population(world: LangevinWorld, name: str, states: Doubles) -> Estimate:
    return _blocks(world.basins(states[..., : world.dimensions])[name].mean(axis=1))


def _blocks(of_runs: Floats, weights: Floats | None = None) -> Estimate:
    """Mean over blocks of runs, of a quantity or of its share in the weights."""
    over = np.ones(len(of_runs)) if weights is None else weights
    count = min(_BLOCKS, len(of_runs))
    parts = [of_runs[i::count].sum() / max(over[i::count].sum(), 1e-9) for i in range(count)]
    return float(np.mean(parts)), float(np.std(parts, ddof=1) / math.sqrt(count))


def _rate(world: LangevinWorld, name: str, states: Doubles) -> Estimate:
    """Transitions from the core of a basin to that of another, over the time that belongs to the first."""
    q = states[..., : world.dimensions]
    basins, energy = world.basins(q), world.potential(q) / world.kT
    core = np.full(q.shape[:-1], -1)
    for i, inside in enumerate(basins.values()):
        core[inside & (energy < energy[inside].min(initial=np.inf) + _CORE)] = i
    own = list(basins).index(name)
    jumps, time = np.zeros(len(core)), np.zeros(len(core))
    for i, row in enumerate(core):
        visited = np.flatnonzero(row >= 0)
        last = row[visited]
        jumps[i] = ((last[:-1] == own) & (last[1:] != own)).sum()
        time[i] = np.diff(visited)[last[:-1] == own].sum() * world.interval
    return _blocks(jumps, time)


def rollout(predictor: nn.Module, z0: Tensor, lag: float, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield z [batch, tokens, dim] after every step of `lag`, starting after z0 itself."""
    z = z0
    lags = torch.full((z0.shape[0],), lag, dtype=z0.dtype, device=z0.device)
    for _ in range(steps):
        noise = torch.randn(z.shape[0], int(predictor.noise_size), generator=generator, dtype=z.dtype).to(z.device)  # type: ignore[arg-type]
        with torch.no_grad():
            z = predictor.step(z, lags, noise)  # type: ignore[operator]
        yield z


class Persistence(nn.Module):
    """ẑ(t + τ) = z(t): the baseline that nothing moves."""

    noise_size: int = 0

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """The tokens as they are."""
        return z


@dataclass(frozen=True)
class Forecasts:
    """Latents [starts, horizon + 1, tokens, dim], true and of each predictor, and where each start is."""

    truth: Tensor
    predicted: dict[str, Tensor]
    run: NDArray[np.intp]
    frame: NDArray[np.intp]


def forecast(
    predictors: Mapping[str, nn.Module], latents: Runs, lag: int, horizon: int, seed: int, starts: int = 4
) -> Forecasts:
    """Roll every predictor out, with one noise, for steps of `lag` frames from some frames of each trajectory."""
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
        path = list(rollout(predictor.eval(), truth[:, 0], float(lag), horizon, torch.Generator().manual_seed(seed)))
        predicted[name] = torch.stack([truth[:, 0], *path], dim=1)
    return Forecasts(truth, predicted, run, frame)


def one_step_scores(predictor: nn.Module, latents: Runs, lag: int) -> dict[str, float]:
    """Cosine of predicted and true tokens, R² of the latent, and gain over persistence, over one step of `lag`."""
    now = torch.from_numpy(np.concatenate([z[:-lag] for z in latents]))
    future = torch.from_numpy(np.concatenate([z[lag:] for z in latents]))
    noise = torch.zeros(len(now), int(predictor.noise_size))  # type: ignore[arg-type]  # the most likely step
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
    out = torch.cat([reader(part, torch.zeros(len(part), 0)) for part in z.reshape(-1, *z.shape[-2:]).split(2048)])
    return out.reshape(*z.shape[:-2], *out.shape[1:]).double().numpy()


def forecast_curve(found: Doubles, truth: Doubles, spread: Doubles) -> Doubles:
    """RMS error over starts and quantities [starts, horizon + 1, ..., quantities] over their spread, [horizon + 1]."""
    squares = ((found - truth) / spread) ** 2
    return np.asarray(np.sqrt(squares.mean(axis=(0, *range(2, squares.ndim)))))


def forecast_errors(curve: Doubles) -> dict[str, float]:
    """A forecast curve at a few steps and on average."""
    horizon = len(curve) - 1
    marks = sorted({1, min(10, horizon), horizon})
    return {f"step {k}": float(curve[k]) for k in marks} | {"mean": float(curve[1:].mean())}


def energy_drift(energies: Doubles, scale: float) -> dict[str, float]:
    """Mean over starts of |E_k − E_0| over a scale, [starts, horizon + 1]: at the last step, and the largest."""
    change = np.abs(energies - energies[:, :1]) / scale
    return {"last": float(change[:, -1].mean()), "largest": float(change.max(axis=1).mean())}


def probes(
    train: Runs, targets: Mapping[str, Sequence[Floats]], test: Runs, test_targets: Mapping[str, Sequence[Floats]]
) -> dict[str, float]:
    """Held-out R² of linear read-outs, of several values the worst: [frames, particles, values] from each token,
    [frames, values] from all tokens of a frame, or their mean in worlds of particles.
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
