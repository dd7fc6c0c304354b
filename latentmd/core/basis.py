"""The fixed linear change of basis between the JEPA latent and everything after it: slow axes and fast axes."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class LatentBasis(nn.Module):
    """w = (z − mean) M: whitened latent axes in the order of their autocorrelation; the first `n_slow` are slow.

    Args:
        mean: [axes in].
        matrix: [axes in, axes out].
        n_slow: number of leading axes that a predictor propagates.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Tensor, matrix: Tensor, n_slow: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)
        self.n_slow = n_slow
        self.n_fast = matrix.shape[1] - n_slow

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [batch, tokens, dim] → slow [batch, 1, n_slow] and fast [batch, 1, n_fast] axes."""
        w = ((z.flatten(1) - self.mean) @ self.matrix).unsqueeze(1)
        return w[..., : self.n_slow], w[..., self.n_slow :]


def fit_basis(
    latents: Sequence[NDArray[np.float32]], lag: int, threshold: float, slow_limits: tuple[int, int]
) -> tuple[LatentBasis, NDArray[np.float64]]:
    """Whiten, then rotate by the time-lagged covariance (TICA in latent space; Pérez-Hernández et al. 2013).

    Args:
        latents: one array [frames, axes] per trajectory.
        lag: in frames.
        threshold: axes whose autocorrelation at the lag exceeds it are slow.
        slow_limits: fewest and most slow axes.

    Returns:
        The basis, and the autocorrelation of each of its axes at the lag.

    Raises:
        ValueError: no trajectory is longer than the lag.
    """
    from deeptime.decomposition import TICA

    usable = [np.asarray(z, dtype=np.float64) for z in latents if len(z) > lag]
    if not usable:
        raise ValueError(f"the longest trajectory has {max(map(len, latents))} frames; the slow/fast split needs > {lag}")
    scale = np.sqrt(np.mean([z.var(0) for z in usable], axis=0)) + 1e-8
    model = TICA(lagtime=lag, scaling=None, epsilon=1e-8).fit([z / scale for z in usable]).fetch_model()
    correlation = np.asarray(model.singular_values, dtype=np.float64)
    matrix = np.asarray(model.singular_vectors_left) / scale[:, None]
    mean = np.asarray(model.mean_0) * scale
    projected = np.concatenate([(z - mean) @ matrix for z in usable])
    matrix = matrix / projected.std(0)
    n_slow = int(np.clip((correlation > threshold).sum(), *slow_limits))
    basis = LatentBasis(
        torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(matrix.astype(np.float32)), min(n_slow, len(correlation))
    )
    return basis, correlation
