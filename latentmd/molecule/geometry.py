"""Differentiable, TorchScript-able geometry of batches of frames: superposition, torsions, signed volumes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from latentmd.molecule.chemistry import chemistry


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
    """Angle in radians moved by full turns to within half a turn of zero."""
    return angle - 2.0 * math.pi * torch.round(angle / (2.0 * math.pi))


def torsion_angles(positions: Tensor, quads: Tensor) -> Tensor:
    """Torsions of four atoms by atan2(|b2| b1·(b2×b3), (b1×b2)·(b2×b3)), IUPAC sign.

    Args:
        positions: [batch, atoms, 3] nm.
        quads: [torsions, 4] long, atoms in order along the chain.

    Returns:
        [batch, torsions] radians in [-π, π].
    """
    corners = positions[:, quads]
    b1, b2, b3 = (corners[:, :, i + 1] - corners[:, :, i] for i in range(3))
    n1, n2 = torch.linalg.cross(b1, b2), torch.linalg.cross(b2, b3)
    return torch.atan2(b2.norm(dim=-1) * (b1 * n2).sum(-1), (n1 * n2).sum(-1))


def stereocentres(topology: Any) -> Tensor:
    """Tetrahedral atoms with four different substituents.

    Substituents are told apart by colour refinement of the bond graph (Morgan, J. Chem. Doc. 5, 107, 1965), which
    needs explicit hydrogens.

    Args:
        topology: mdtraj.Topology, openmm.app.Topology or Chemistry.

    Returns:
        [centres, 5] long: the centre and its neighbours, heavy atoms first, hydrogens last, by index otherwise.
    """
    record = chemistry(topology)
    neighbours = record.neighbours()
    colours: list[Any] = list(record.symbols)
    while True:
        refined = [(colours[i], tuple(sorted(colours[j] for j in around))) for i, around in enumerate(neighbours)]
        ranks = {key: rank for rank, key in enumerate(sorted(set(refined)))}
        if len(ranks) == len(set(colours)):
            break
        colours = [ranks[key] for key in refined]
    rows = [
        [i, *sorted(around, key=lambda j: (record.symbols[j] == "H", j))]
        for i, around in enumerate(neighbours)
        if len(around) == 4 and len({colours[j] for j in around}) == 4
    ]
    return torch.tensor(rows, dtype=torch.long).reshape(-1, 5)


def signed_volumes(positions: Tensor, centres: Tensor) -> Tensor:
    """v1 · (v2 × v3) of the unit vectors from a centre to its first three neighbours; a reflection flips the sign.

    Args:
        positions: [batch, atoms, 3] nm.
        centres: [centres, 4 or more] long, from `stereocentres`.

    Returns:
        [batch, centres] in [-1, 1], about ±0.77 at a tetrahedral atom.
    """
    vectors = positions[:, centres[:, 1:4]] - positions[:, centres[:, :1]]
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    out: Tensor = (vectors[:, :, 0] * torch.linalg.cross(vectors[:, :, 1], vectors[:, :, 2])).sum(-1)
    return out
