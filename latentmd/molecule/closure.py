"""Loop closure: backbone torsions of missing residues that join the residues on either side."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from latentmd.molecule.geometry import wrap

# Means and deviations of ff14SB at 350 K, in nm and degrees; C-N, N-CA and CA-C, then the angles at C, N and CA.
_LENGTHS = (0.1335, 0.1455, 0.1522)
_ANGLES, _ANGLE_DEVIATIONS = (116.8, 122.0, 111.5), (2.5, 3.0, 4.5)
_PLANARITY = (9.0, 8.0)  # degrees, deviations of omega from 180 and of a torsion told by a planar neighbour
_CLOSED = 0.003  # nm, deviation of the atoms of the residue after
_STARTS = tuple(itertools.product((-120.0, -65.0, 60.0), (-45.0, 140.0)))  # degrees, of (phi, psi)
_ITERATIONS, _STEP = 30, 0.5  # of Levenberg and Marquardt's method, and its longest step in radians
_APART = math.radians(15)  # between closures that count as different
_WORSE = 10.0  # nats that a closure may lie below the best one of its frame


def closures(
    before: Tensor, after: Tensor, psi: Tensor, phi: Tensor, missing: int, draws: int, generator: torch.Generator
) -> Tensor:
    """Draw torsions of a gap that close it, in ff14SB's bond lengths and about its angles.

    From every combination of starting torsions the squared deviations of the end, of omegas from 180°, of angles from
    their means and of the two torsions beside the gap are minimised; draws are from Gaussians around the minima
    (Laplace's approximation), in proportion to their weights.

    N, CA and C of the residues on either side are given in nm, [frames, 3, 3], psi of the one before and phi of the one
    after in radians, [frames]. Returns psi of the residue before, (omega, phi, psi) of each missing one, omega and phi
    of the residue after, radians, [frames, draws, 3 · missing + 3].
    """
    gap = _Gap(before.double(), after.double(), psi.double(), phi.double(), missing)
    found, cost, curvature = gap.minima()
    torsions = wrap(found[..., : gap.size])
    weight = -cost - 0.5 * torch.linalg.slogdet(curvature)[1]
    weight = weight.masked_fill(~_different(torsions, cost), -math.inf)
    pick = torch.multinomial(torch.softmax(weight, dim=1), draws, replacement=True, generator=generator)
    frames = torch.arange(len(found)).unsqueeze(1)
    noise = torch.randn(len(found), draws, 2 * gap.size, 1, generator=generator, dtype=torch.float64)
    root = torch.linalg.cholesky(curvature[frames, pick])
    moved = torch.linalg.solve_triangular(root.mT, noise, upper=True).squeeze(-1)
    return wrap((found[frames, pick] + moved)[..., : gap.size]).float()


def _different(torsions: Tensor, cost: Tensor) -> Tensor:
    """Whether a minimum is near the best of its frame and none before it, in order of cost, is the same one."""
    order = cost.argsort(dim=1)
    sorted_ = torsions.gather(1, order.unsqueeze(-1).expand_as(torsions))
    apart = wrap(sorted_.unsqueeze(2) - sorted_.unsqueeze(1)).abs().amax(dim=-1)
    earlier = torch.ones(apart.shape[1:], dtype=torch.bool).tril(-1)
    new = ~((apart < _APART) & earlier).any(dim=2)
    return torch.zeros_like(new).scatter(1, order, new) & (cost < cost.amin(dim=1, keepdim=True) + _WORSE)


class _Gap:
    """Least squares over the torsions and angles of a gap, all frames and all starts at once."""

    def __init__(self, before: Tensor, after: Tensor, psi: Tensor, phi: Tensor, missing: int) -> None:
        self.size = 3 * missing + 3
        combinations = torch.tensor(list(itertools.product(_STARTS, repeat=missing))).double().deg2rad()
        starts = torch.full((len(psi), len(combinations), self.size), math.pi, dtype=torch.float64)
        starts[..., 0], starts[..., -1] = psi.unsqueeze(1), phi.unsqueeze(1)
        inner = starts[..., 1:-2].unflatten(-1, (missing, 3))
        inner[..., 1:] = combinations
        self.angles = torch.tensor([_ANGLES[k % 3] for k in range(self.size)]).double().deg2rad()
        self.start = torch.cat([starts, self.angles.expand_as(starts)], dim=-1)
        self.given = [x.repeat_interleave(len(combinations), dim=0) for x in (before, after, psi, phi)]
        self.deviations = torch.tensor([_ANGLE_DEVIATIONS[k % 3] for k in range(self.size)]).double().deg2rad()
        self.omegas = list(range(1, self.size, 3))

    def minima(self) -> tuple[Tensor, Tensor, Tensor]:
        """Minima [frames, starts, 2 · size], half their squared deviation, and its curvature, by Gauss and Newton."""
        v = self.start.flatten(0, 1)
        residual = torch.func.vmap(self._residual)
        jacobian = torch.func.vmap(torch.func.jacrev(self._residual))
        damping = torch.ones(len(v), dtype=torch.float64)
        r = residual(v, *self.given)
        for _ in range(_ITERATIONS):
            j = jacobian(v, *self.given)
            h, slope = j.transpose(1, 2) @ j, (j.transpose(1, 2) @ r.unsqueeze(-1))
            ridge = torch.diag_embed((torch.diagonal(h, dim1=1, dim2=2) + 1e-3) * damping.unsqueeze(1))
            moved = v + torch.linalg.solve(h + ridge, -slope).squeeze(-1).clamp(-_STEP, _STEP)
            after = residual(moved, *self.given)
            better = after.square().sum(dim=1) < r.square().sum(dim=1)
            v, r = (torch.where(better.unsqueeze(1), new, old) for new, old in ((moved, v), (after, r)))
            damping = torch.where(better, damping / 3, damping * 4).clamp(1e-7, 1e6)
        j = jacobian(v, *self.given)
        h = j.transpose(1, 2) @ j + 1e-6 * torch.eye(2 * self.size, dtype=torch.float64)
        shape = self.start.shape[:2]
        return v.reshape(*shape, -1), 0.5 * r.square().sum(dim=1).reshape(shape), h.reshape(*shape, *h.shape[1:])

    def _residual(self, v: Tensor, before: Tensor, after: Tensor, psi: Tensor, phi: Tensor) -> Tensor:
        """Deviations of one closure, each in units of its own."""
        torsions, angles = v[: self.size], v[self.size :]
        atoms = list(before)
        for k in range(self.size):
            atoms.append(_placed(atoms[-3:], _LENGTHS[k % 3], angles[k], torsions[k]))
        flat, told = (math.radians(value) for value in _PLANARITY)
        beside = torch.stack([wrap(torsions[0] - psi), wrap(torsions[-1] - phi)])
        end = (torch.stack(atoms[-3:]) - after).flatten() / _CLOSED
        bent = (angles - self.angles) / self.deviations
        return torch.cat([end, wrap(torsions[self.omegas] - math.pi) / flat, beside / told, bent])


def _placed(atoms: list[Tensor], length: float, angle: Tensor, torsion: Tensor) -> Tensor:
    """The atom after three others."""
    a, b, c = atoms
    along = torch.nn.functional.normalize(c - b, dim=-1)
    across = torch.nn.functional.normalize(torch.linalg.cross(b - a, along), dim=-1)
    side = torch.cos(torsion) * torch.linalg.cross(across, along) + torch.sin(torsion) * across
    out: Tensor = c + length * (-torch.cos(angle) * along + torch.sin(angle) * side)
    return out
