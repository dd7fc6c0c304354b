"""Joint-embedding prediction of anything: the objective, the stage with its watch for collapse, and frozen latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.analysis.msm import k_means
from latentmd.core.basis import LatentBasis
from latentmd.core.jepa import JEPA, Scheme, momentum_schedule
from latentmd.core.objectives import SIGReg, VarianceCovariance, effective_rank
from latentmd.model.manifest import Landmarks
from latentmd.training.config import EmbeddingSettings
from latentmd.training.loop import Optimisation, Stage, TrainingError
from latentmd.training.windows import LaggedWindows


def fit_basis(
    latents: Sequence[NDArray[np.float32]],
    lag: int,
    threshold: float,
    slow_limits: tuple[int, int],
    anchors: Sequence[NDArray[np.float32]] = (),
) -> tuple[LatentBasis, NDArray[np.float64]]:
    """Whiten, then rotate by the time-lagged covariance (TICA in latent space; Pérez-Hernández et al. 2013).

    Returns the basis and the autocorrelation of each of its axes at the lag, in frames. Slow axes are those whose
    autocorrelation exceeds the threshold, within the limits of their number, and, orthogonal to them, the directions
    along which the anchors [frames, anchors] are linear functions of the latents [frames, axes] of each trajectory.
    Anchors are quantities whose distribution must be right whether or not they can be predicted (sines and cosines of
    soft torsions): the predictor then draws them itself. ValueError: no trajectory is longer than the lag.
    """
    from deeptime.decomposition import TICA

    usable = [i for i, z in enumerate(latents) if len(z) > lag]
    if not usable:
        longest = max(len(z) for z in latents)
        raise ValueError(f"the longest trajectory has {longest} frames; the slow/fast split needs more than {lag}")
    series = [np.asarray(latents[i], dtype=np.float64) for i in usable]
    scale = np.sqrt(np.mean([z.var(0) for z in series], axis=0)) + 1e-8
    model = TICA(lagtime=lag, scaling=None, epsilon=1e-8).fit([z / scale for z in series]).fetch_model()
    matrix = np.asarray(model.singular_vectors_left) / scale[:, None]
    mean = np.asarray(model.mean_0) * scale
    projected = [(z - mean) @ matrix for z in series]
    spread = np.concatenate(projected).std(0)
    matrix, projected = matrix / spread, [w / spread for w in projected]
    predictable = int(np.clip((np.asarray(model.singular_values) > threshold).sum(), *slow_limits))
    n_slow = min(predictable, matrix.shape[1])
    if anchors:
        rotation, extra = _anchor_rotation(projected, [np.asarray(anchors[i]) for i in usable], n_slow)
        matrix, projected, n_slow = matrix @ rotation, [w @ rotation for w in projected], n_slow + extra
    now, future = np.concatenate([w[:-lag] for w in projected]), np.concatenate([w[lag:] for w in projected])
    basis = LatentBasis(torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(matrix.astype(np.float32)), n_slow)
    return basis, (now * future).mean(0)


_LEAST_SHARE = 0.005  # least share of the anchors' variance for which a direction gets an axis


def _anchor_rotation(
    axes: list[NDArray[np.float64]], anchors: list[NDArray[np.float32]], n_slow: int
) -> tuple[NDArray[np.float64], int]:
    """Rotation of whitened axes that puts the anchors' directions right after the first `n_slow`, and their number."""
    w, y = np.concatenate(axes), np.concatenate(anchors).astype(np.float64)
    y = (y - y.mean(0)) / y.std(0)
    correlation = w.T @ y / len(w)  # regression coefficients, as the axes are white
    left, singular, _ = np.linalg.svd(correlation[n_slow:], full_matrices=True)
    extra = int((singular**2 > _LEAST_SHARE * y.shape[1]).sum())
    rotation = np.eye(w.shape[1])
    rotation[n_slow:, n_slow:] = left
    return rotation, extra


_LANDMARKS, _KEPT, _LOOKED_AT = 256, 0.999, 20_000  # centres; share of frames within the limit; frames looked at


def landmarks(slow: Sequence[NDArray[np.float32]], held: Sequence[NDArray[np.float32]], seed: int) -> Landmarks:
    """Where the training frames lie in the slow axes, k-means centres, and how far held-out frames are from them.

    The limit is no smaller than that of the training frames, since there may be few others.
    """
    looked_at = [
        z[:: max(1, len(z) // _LOOKED_AT)].astype(np.float64) for z in map(np.concatenate, (slow, held or slow))
    ]
    centres = k_means(looked_at[0], min(_LANDMARKS, len(looked_at[0]) // 4), seed).cluster_centers.round(3).tolist()
    found = Landmarks(centres=centres, limit=0.0)
    return found.model_copy(update={"limit": max(float(np.quantile(found.distances(z), _KEPT)) for z in looked_at)})


_NUMBERS = 20_000  # encoded at a time, and 256 frames at most
_CHECK_FROM = 0.5  # collapse is judged after this share of the steps
_LEAST_DEVIATION = 0.3  # of the untrained encoder's mean axis deviation, below which a latent has collapsed


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters are; batches are drawn on the CPU, so that a seed means the same on every device."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))


def scheme_of(settings: EmbeddingSettings) -> Scheme:
    """Scheme of joint-embedding prediction that the settings name."""
    return Scheme(settings.ema, settings.matching, settings.mask, settings.regularise)


def build_objective(settings: EmbeddingSettings, seed: int) -> nn.Module:
    """The objective against collapse that the settings name; the seed is of the random projections of SIGReg."""
    if settings.objective == "variance-covariance":
        return VarianceCovariance(settings.variance, settings.covariance)
    return SIGReg(settings.sigreg, seed=seed)


def embedding_stage(
    jepa: JEPA, windows: LaggedWindows, config: EmbeddingSettings, seed: int, *, terms: Sequence[str],
    interval: float = 1.0, probe_frames: int = 512, check_every: int = 50,
) -> Stage:  # fmt: skip
    """Predict future latents from present ones, over lagged windows that never cross trajectories.

    A run whose latent collapses is stopped: rank and deviations over `probe_frames` frames are looked at from half of
    the steps, every `check_every`. `terms` are logged beside the total; the interval between frames is in the unit of
    the predictor's lags.
    """

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        frames, lag = windows.sample(config.batch, generator)
        there = device_of(jepa)
        out = jepa([frame.to(there) for frame in frames], (lag * interval).to(there), generator)
        return {"loss": out.total} | {name: getattr(out, name) for name in terms}

    probe = windows.sample(probe_frames, torch.Generator().manual_seed(seed)).frames[0]
    start = collapse_diagnostics(jepa, probe)

    def after_step(step: int, _share: float) -> None:
        if config.ema is not None:
            jepa.update_target(momentum_schedule(step, config.steps, config.ema))
        if step == config.steps or (step > _CHECK_FROM * config.steps and step % check_every == 0):
            refuse_collapse(collapse_diagnostics(jepa, probe), start, config.minimum_rank, step)

    how = Optimisation(steps=config.steps, learning_rate=config.learning_rate, seed=seed)
    return Stage("jepa", jepa, losses, how, after_step=after_step)


def collapse_diagnostics(jepa: JEPA, positions: Tensor) -> dict[str, float]:
    """Effective rank (RankMe), smallest and mean deviation of the target's latent axes over frames [frames, ...]."""
    z = torch.from_numpy(encode_all(jepa.target, [positions.numpy()])[0]).flatten(1)
    std = z.std(0)
    return {"rank": float(effective_rank(z)), "std_min": float(std.min()), "std_mean": float(std.mean())}


def refuse_collapse(seen: dict[str, float], start: dict[str, float], minimum_rank: float, step: int) -> None:
    """Raise `TrainingError` where the rank is too low or the axes have shrunk below those of the untrained encoder, by
    `collapse_diagnostics` now and at the start.
    """
    if seen["rank"] < minimum_rank or seen["std_mean"] < _LEAST_DEVIATION * start["std_mean"]:
        raise TrainingError(
            f"the latent collapsed: effective rank {seen['rank']:.2f} (expected at least {minimum_rank}), mean axis "
            f"deviation {seen['std_mean']:.2g} ({start['std_mean']:.2g} before training) at step {step}; raise "
            "jepa.variance, jepa.covariance or jepa.ground, or lower jepa.learning_rate"
        )


@torch.no_grad()
def encode_all(
    encoder: nn.Module, trajectories: Sequence[NDArray[np.floating]], batch: int = 0
) -> list[NDArray[np.float32]]:
    """Latents [frames, tokens, dim] of every frame, one array per trajectory [frames, ...], by the frozen encoder.

    A batch of 0 is some 20,000 numbers, which stay in the cache.
    """
    device = device_of(encoder)
    batch = batch or max(1, min(256, _NUMBERS // max(1, trajectories[0][0].size)))
    out = []
    for run in trajectories:
        parts = (np.ascontiguousarray(run[i : i + batch], np.float32) for i in range(0, len(run), batch))
        out.append(np.concatenate([encoder(torch.from_numpy(x).to(device)).cpu().numpy() for x in parts]))
    return out
