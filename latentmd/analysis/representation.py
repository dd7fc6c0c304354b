"""Quality of a latent representation on held-out trajectories: rank, deviations, VAMP-2, probes, predictability."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from latentmd.analysis.statistics import split_blocks
from latentmd.arrays import Floats
from latentmd.io.progress import Tick, silent


def rank_me(latents: Floats) -> float:
    """Effective rank (`core.objectives.effective_rank`) of a latent (samples, axes), from 1 to its number of axes."""
    import torch

    from latentmd.core.objectives import effective_rank

    return float(effective_rank(torch.from_numpy(np.array(latents, dtype=np.float64))))


def axis_deviations(latents: Floats) -> tuple[float, float]:
    """(smallest, mean) standard deviation over the axes of a latent, shape (samples, axes)."""
    deviations = np.std(np.asarray(latents, dtype=np.float64), axis=0)
    return float(deviations.min()), float(deviations.mean())


def _longer(series: Sequence[Floats], lag: int) -> list[Floats]:
    usable = [s for s in series if len(s) > lag]
    if not usable:
        raise ValueError(f"a lag of {lag} frames needs a run longer than that; the longest has {max(map(len, series))}")
    return usable


def lagged(series: Sequence[Floats], lag: int) -> tuple[Floats, Floats]:
    """Frames of all runs that have one a lag later, and those, each (pairs, axes)."""
    usable = [np.asarray(s, dtype=np.float64) for s in _longer(series, lag)]
    return np.concatenate([s[:-lag] for s in usable]), np.concatenate([s[lag:] for s in usable])


def vamp2_score(series: Sequence[Floats], lag: int, epsilon: float = 1e-10) -> float:
    """VAMP-2 score of runs (frames, axes): squared Frobenius norm of C00^-1/2 C0t Ctt^-1/2, plus 1 for the constant.
    The number of slow processes resolved, each weighed by its squared correlation; between 1 and axes + 1 (Wu & Noé, J.
    Nonlinear Sci. 30, 23, 2020). Directions with less than `epsilon` of the largest variance are dropped.
    """
    usable = _longer(series, lag)
    # Moments about the first frame lose no digits to a large mean.
    return _vamp2(np.sum([_moments(s - usable[0][0], lag) for s in usable], axis=0), epsilon)


def vamp2_resamples(
    sets: Sequence[Sequence[Floats]], lag: int, rng: np.random.Generator, resamples: int = 200
) -> Floats:
    """VAMP-2 scores (resamples, sets) of feature sets of the same frames under one bootstrap over runs (over ten blocks
    where they are fewer than five): draws are the same for all sets of a row, so that columns are paired.
    """
    lengths = [len(s) for s in sets[0]]
    size = max(lengths) if len(lengths) >= 5 else max(sum(lengths) // 10, lag + 1)
    blocks = [(r, a, b) for r, a, b in split_blocks(lengths, size) if b - a > lag]
    weights = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=resamples)
    scores = np.empty((resamples, len(sets)))
    for column, series in enumerate(sets):
        moments = np.stack([_moments(series[r][a:b] - series[0][0], lag) for r, a, b in blocks])
        scores[:, column] = [_vamp2(m) for m in np.tensordot(weights, moments, 1)]
    return scores


def _moments(run: Floats, lag: int) -> Floats:
    """Sum over pairs of the products of (1, x_t, x_t+lag) with itself."""
    run = np.asarray(run, dtype=np.float64)
    rows = np.concatenate([np.ones((len(run) - lag, 1)), run[:-lag], run[lag:]], axis=1)
    return np.asarray(rows.T @ rows)


def _vamp2(moments: Floats, epsilon: float = 1e-10) -> float:
    mean = moments[0, 1:] / moments[0, 0]
    covariance = moments[1:, 1:] / moments[0, 0] - np.outer(mean, mean)
    d = len(mean) // 2
    left, right = (_inverse_root(c, epsilon) for c in (covariance[:d, :d], covariance[d:, d:]))
    return float(np.sum((left @ covariance[:d, d:] @ right) ** 2) + 1.0)


def _inverse_root(covariance: Floats, epsilon: float) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    keep = values > epsilon * values[-1]
    return np.asarray((vectors[:, keep] / np.sqrt(values[keep])) @ vectors[:, keep].T)


def linear_probe_r2(
    train: Floats, train_targets: Floats, test: Floats, test_targets: Floats, ridge: float = 1e-6
) -> Floats:
    """Held-out R^2 of a ridge regression of targets (samples, targets) on features; nan for a constant target."""
    x, y = np.asarray(train, dtype=np.float64), np.asarray(train_targets, dtype=np.float64)
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - x_mean, y - y_mean
    gram = x.T @ x
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram)) + 1e-300 * np.eye(len(gram))
    weights = np.linalg.lstsq(gram, x.T @ y, rcond=None)[0]
    residual = test_targets - ((np.asarray(test) - x_mean) @ weights + y_mean)
    variance = np.var(np.asarray(test_targets, dtype=np.float64), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = 1 - np.mean(residual**2, axis=0) / variance
    return np.asarray(np.where(variance > 1e-15, score, np.nan))


def persistence_gain(current: Floats, future: Floats, predicted: Floats) -> float:
    """1 - MSE(prediction) / MSE(persistence): 0 for a predictor no better than "nothing moves", 1 for a perfect one."""
    persistence = float(np.mean((np.asarray(future, dtype=np.float64) - current) ** 2))
    if persistence == 0:
        raise ValueError("the latent does not change over the lag, so there is nothing to predict; use a longer lag")
    return 1.0 - float(np.mean((np.asarray(future, dtype=np.float64) - predicted) ** 2)) / persistence


def tica_outputs(train: Sequence[Floats], test: Sequence[Floats], lag: int, dimension: int) -> list[Floats]:
    """The leading TICA coordinates of test runs (frames, features), fitted on training runs (deeptime)."""
    from deeptime.decomposition import TICA

    model = TICA(lagtime=lag, dim=dimension).fit_from_timeseries([np.asarray(s) for s in train]).fetch_model()
    return [np.asarray(model.transform(s)) for s in test]


def vampnet_outputs(
    train: Sequence[Floats], test: Sequence[Floats], lag: int, dimension: int, seconds: float, seed: int,
    tick: Tick = silent,
) -> list[Floats]:  # fmt: skip
    """Outputs on test runs (frames, features) of a VAMPnet (deeptime; two layers of 64) trained for some seconds."""
    import torch
    from deeptime.decomposition.deep import VAMPNet
    from torch import nn

    x, y = lagged(train, lag)
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-8)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        lobe = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ELU(), nn.Linear(64, 64), nn.ELU(), nn.Linear(64, dimension))
    estimator = VAMPNet(lobe=lobe, learning_rate=1e-3, epsilon=1e-6)
    a, b = (torch.tensor((v - mean) / scale, dtype=torch.float32) for v in (x, y))
    start, batches = time.perf_counter(), 0
    while batches < 100 or time.perf_counter() - start < seconds:
        pick = torch.randint(len(a), (min(1024, len(a)),), generator=generator)
        estimator.partial_fit((a[pick], b[pick]))
        tick(min(time.perf_counter() - start, seconds), seconds)
        batches += 1
    lobe.eval()
    with torch.no_grad():
        return [lobe(torch.tensor((s - mean) / scale, dtype=torch.float32)).double().numpy() for s in test]
