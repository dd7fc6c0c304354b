"""Fit of the slow and fast axes: time-lagged independent components of the latent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from latentmd.core.basis import LatentBasis


def fit_basis(
    latents: Sequence[NDArray[np.float32]],
    lag: int,
    threshold: float,
    slow_limits: tuple[int, int],
    anchors: Sequence[NDArray[np.float32]] = (),
) -> tuple[LatentBasis, NDArray[np.float64]]:
    """Whiten, then rotate by the time-lagged covariance (TICA in latent space; Pérez-Hernández et al. 2013).

    The slow axes are those that are predictable over the lag and, orthogonal to them, the directions along which the
    anchors are linear functions of the latent. Anchors are quantities whose distribution must be right whether or not
    they can be predicted (sines and cosines of soft torsions): the predictor then draws them itself.

    Args:
        latents: one array [frames, axes] per trajectory.
        lag: in frames.
        threshold: axes whose autocorrelation at the lag exceeds it are predictable.
        slow_limits: fewest and most predictable axes.
        anchors: one array [frames, anchors] per trajectory, or none.

    Returns:
        The basis, and the autocorrelation of each of its axes at the lag.

    Raises:
        ValueError: no trajectory is longer than the lag.
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
    rest = correlation[n_slow:]
    left, singular, _ = np.linalg.svd(rest, full_matrices=True)
    extra = int((singular**2 > _LEAST_SHARE * y.shape[1]).sum())
    rotation = np.eye(w.shape[1])
    rotation[n_slow:, n_slow:] = left
    return rotation, extra
