"""Differentiable, TorchScript-able geometry of batches of frames: superposition, angles, signed volumes, images."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def kabsch(mobile: Tensor, reference: Tensor, weights: Tensor | None = None) -> Tensor:
    """Superpose each frame onto its reference with the proper rotation of least weighted squared deviation.

    R = V diag(1, 1, det(V Uᵀ)) Uᵀ with U S Vᵀ = Σ_i w_i (x_i − x̄)(y_i − ȳ)ᵀ (Kabsch, Acta Cryst. A34, 827, 1978). The
    computation is in float64 whatever the input.

    Args:
        mobile: [batch, atoms, 3] nm.
        reference: [batch, atoms, 3] or [1, atoms, 3] nm.
        weights: [atoms], not negative; None for equal weights.

    Returns:
        The mobile frames on the reference, [batch, atoms, 3], in the type of `mobile`.
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


def wrap(angle: Tensor) -> Tensor:
    """Angles in radians, of any shape, moved by full turns to within half a turn of zero."""
    return angle - 2.0 * math.pi * torch.round(angle / (2.0 * math.pi))


def signed_volumes(positions: Tensor, centres: Tensor) -> Tensor:
    """v1 · (v2 × v3) of the unit vectors from a centre to its first three neighbours; a reflection flips the sign.

    Args:
        positions: [batch, atoms, 3] nm.
        centres: [centres, 4 or more] long, from `latentmd.molecule.checks.chiral_quads`.

    Returns:
        [batch, centres] in [-1, 1], about ±0.77 at a tetrahedral atom.
    """
    vectors = positions[:, centres[:, 1:4]] - positions[:, centres[:, :1]]
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    out: Tensor = (vectors[:, :, 0] * torch.linalg.cross(vectors[:, :, 1], vectors[:, :, 2])).sum(-1)
    return out


def minimum_image(displacement: Tensor, box: Tensor) -> Tensor:
    """Shortest periodic image of displacements [batch, ..., 3] in triclinic boxes [batch, 3, 3] (rows a, b, c, nm).

    Exact for displacements up to half the shortest box width, as in engines (reduced lower-triangular boxes).
    """
    shape = [displacement.shape[0]] + [1] * (displacement.dim() - 2) + [3]
    out = displacement
    for axis in (2, 1, 0):
        vector = box[:, axis].reshape(shape)
        out = out - vector * torch.round(out[..., axis : axis + 1] / vector[..., axis : axis + 1])
    return out
