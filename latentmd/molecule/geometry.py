"""Differentiable, TorchScript-able geometry of batches of frames: superposition, angles, periodic images."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from latentmd.arrays import Doubles, Floats


def kabsch(mobile: Tensor, reference: Tensor, weights: Tensor | None = None) -> Tensor:
    """Superpose frames [batch, atoms, 3] onto references (or one) with the proper rotation of least weighted deviation.

    R = V diag(1, 1, det(V Uᵀ)) Uᵀ with U S Vᵀ = Σ_i w_i (x_i − x̄)(y_i − ȳ)ᵀ (Kabsch, Acta Cryst. A34, 827, 1978). The
    computation is in float64 whatever the input.
    """
    x, y = mobile.to(torch.float64), reference.to(torch.float64)
    w = torch.ones(x.shape[1], dtype=torch.float64, device=x.device)
    if weights is not None:
        w = weights.to(torch.float64)
    w = (w / w.sum()).unsqueeze(-1)
    x_mean, y_mean = (w * x).sum(1, keepdim=True), (w * y).sum(1, keepdim=True)
    x, y = x - x_mean, y - y_mean
    u, _, vh = torch.linalg.svd((w * x).transpose(1, 2) @ y)
    handedness = torch.sign(torch.linalg.det(u) * torch.linalg.det(vh)).unsqueeze(-1)
    flip = torch.cat([torch.ones_like(handedness), torch.ones_like(handedness), handedness], dim=-1)
    rotation = (u * flip.unsqueeze(1)) @ vh
    out: Tensor = (x @ rotation + y_mean).to(mobile.dtype)
    return out


def superposed(mobile: Floats, reference: Floats, weights: Floats | None = None) -> Doubles:
    """`kabsch` of NumPy arrays."""
    share = None if weights is None else torch.from_numpy(np.asarray(weights, np.float64))
    x, y = (torch.from_numpy(np.array(a, np.float64)) for a in (mobile, reference))
    return np.asarray(kabsch(x, y, share).numpy())


def wrap(angle: Tensor) -> Tensor:
    """Angles in radians, of any shape, moved by full turns to within half a turn of zero."""
    return angle - 2.0 * math.pi * torch.round(angle / (2.0 * math.pi))
