"""Baselines that need a network or a model: the same flow on TICA coordinates, and Koopman rollouts of the latent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from latentmd.arrays import Floats
from latentmd.evaluation.baselines import (
    koopman_matrix,
    koopman_rollout,
    nearest_frames,
)
from latentmd.io.progress import Tick, silent

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

_BATCH, _LEAST_BATCHES, _LEARNING_RATE, _WIDTH, _DEPTH, _SOLVER_STEPS = 1024, 200, 1e-3, 128, 3, 4


def tica_flow(
    coordinates: Sequence[Floats], features: Sequence[Floats], lag: int, interval: float, walkers: int, steps: int,
    seconds: float, seed: int, tick: Tick = silent,
) -> list[Floats]:  # fmt: skip
    """The surrogate's stochastic predictor trained on TICA coordinates in place of the JEPA latent.

    The coordinates are standardised; the flow is trained on pairs one step apart for a given wall time (at least 200
    batches), rolled out, and each point is shown as the nearest training frame.

    Args:
        coordinates: TICA coordinates of the training runs, (frames, axes).
        features: the same frames' features, (frames, features).
        lag: frames per step.
        interval: ps between frames.
        walkers, steps: size of the rollout.
        seconds: training time.
        seed: of weights, batches and noise.
        tick: called with the part of the training done, and 1.

    Returns:
        Features per walker, (steps, features), one step apart.
    """
    import torch

    from latentmd.core.steps.flow import FlowPredictor

    everything = np.concatenate(list(coordinates))
    mean, scale = everything.mean(axis=0), np.maximum(everything.std(axis=0), 1e-12)
    scaled = [(c - mean) / scale for c in coordinates if len(c) > lag]
    x, y = (
        torch.tensor(np.concatenate(parts), dtype=torch.float32).unsqueeze(1)
        for parts in ([c[:-lag] for c in scaled], [c[lag:] for c in scaled])
    )
    step_time = lag * interval
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = FlowPredictor(
            x.shape[-1], (0.5 * step_time, 2 * step_time), _WIDTH, depth=_DEPTH, tokens=1, solver_steps=_SOLVER_STEPS
        )
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(flow.parameters(), _LEARNING_RATE)
    start, batches = time.perf_counter(), 0
    while (done := min(batches / _LEAST_BATCHES, (time.perf_counter() - start) / max(seconds, 1e-9))) < 1:
        tick(done, 1.0)
        optimiser.param_groups[0]["lr"] = _LEARNING_RATE * (1 - 0.98 * done)
        pick = torch.randint(len(x), (min(_BATCH, len(x)),), generator=generator)
        noise = torch.randn(x[pick].shape, generator=generator)
        lags = torch.full((len(pick),), step_time)
        losses = flow.loss(x[pick], lags, y[pick], noise, torch.rand(len(pick), generator=generator))
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        optimiser.step()
        batches += 1
    z = x[torch.randint(len(x), (walkers,), generator=generator)]
    lags = torch.full((walkers,), step_time)
    path = torch.empty(steps, walkers, x.shape[-1])
    with torch.no_grad():
        for index in range(steps):
            z = flow.step(z, lags, torch.randn(walkers, flow.noise_size, generator=generator))
            path[index] = z[:, 0]
    found = nearest_frames((everything - mean) / scale, path.reshape(-1, x.shape[-1]).numpy())
    shown = np.concatenate(list(features))[found].reshape(steps, walkers, -1)
    return [shown[:, walker] for walker in range(walkers)]


def koopman(
    propagator: Propagator, latents: Sequence[Floats], lag: int, walkers: int, steps: int, rng: np.random.Generator
) -> Floats:
    """Linear (Koopman) rollouts on the surrogate's own slow axes, from training latents.

    Args:
        propagator: gives the shape of the latent.
        latents: slow axes of the training runs, (frames, axes).
        lag: frames per step.
        walkers, steps: size of the rollout.
        rng: picks the starts.

    Returns:
        Slow axes, shape (walkers, steps, axes); the conditional mean, so their variance dies out.
    """
    everything = np.concatenate(list(latents))
    if everything.shape[1] != int(propagator.manifest.slow_axes):
        raise ValueError(
            f"latents have {everything.shape[1]} axes; the model has {propagator.manifest.slow_axes} slow axes"
        )
    starts = everything[rng.integers(0, len(everything), walkers)]
    return koopman_rollout(koopman_matrix(latents, lag), starts, steps)
