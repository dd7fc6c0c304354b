"""A surrogate with a closed form, which stands in for a trained model: known answers, and steps that cost little."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn


class TorsionSurrogate(nn.Module):
    """Rigid fragments turning about a few bonds; the torsions follow Ornstein–Uhlenbeck processes.

    z(t + lag) = z(t) a + sigma sqrt(1 - a^2) xi, with a = exp(-lag / tau), for each slow torsion's deviation z from
    its mean (Uhlenbeck & Ornstein, Phys. Rev. 36, 823, 1930). Fast torsions (methyls) are drawn uniformly. Every
    decoded structure has the bonds, angles and chirality of the reference.

    Args:
        positions: reference structure [N, 3] nm.
        slow, fast: for each torsion its four atoms and the atoms moved by turning about the middle two, in an order
            in which no later rotation changes an earlier torsion.
        bonds: pairs of atoms, for the harmonic energy.
        tau: relaxation time of the slow torsions, ps.
        sigma: their standard deviation, radians.
        stiffness: of the bonds, kJ/mol/nm^2.
    """

    reference: Tensor
    quads: Tensor
    moved: Tensor
    bonds: Tensor
    lengths: Tensor
    rest: Tensor

    def __init__(
        self,
        positions: ArrayLike,
        slow: Sequence[tuple[Sequence[int], Sequence[int]]],
        fast: Sequence[tuple[Sequence[int], Sequence[int]]],
        bonds: Sequence[tuple[int, int]],
        tau: float = 50.0,
        sigma: float = 0.5,
        stiffness: float = 2e5,
    ) -> None:
        super().__init__()
        reference = torch.as_tensor(np.asarray(positions), dtype=torch.float32)
        turns = [*slow, *fast]
        self.n_atoms = reference.shape[0]
        self.n_slow = len(slow)
        self.step_noise = len(slow)
        self.decode_noise = len(fast)
        self.tau, self.sigma, self.stiffness = tau, sigma, stiffness
        moved = torch.zeros(len(turns), self.n_atoms, 1)
        for row, (_, atoms) in enumerate(turns):
            moved[row, list(atoms)] = 1.0
        pairs = torch.tensor(list(bonds), dtype=torch.long)
        self.register_buffer("reference", reference - reference.mean(dim=0))
        self.register_buffer("quads", torch.tensor([list(quad) for quad, _ in turns], dtype=torch.long))
        self.register_buffer("moved", moved)
        self.register_buffer("bonds", pairs)
        self.register_buffer("lengths", (reference[pairs[:, 0]] - reference[pairs[:, 1]]).norm(p=2, dim=1))
        self.register_buffer("rest", self._torsions(reference.unsqueeze(0))[0])

    def _torsions(self, x: Tensor) -> Tensor:
        a, b, c, d = x[:, self.quads[:, 0]], x[:, self.quads[:, 1]], x[:, self.quads[:, 2]], x[:, self.quads[:, 3]]
        n1 = torch.linalg.cross(b - a, c - b)
        n2 = torch.linalg.cross(c - b, d - c)
        y = ((b - a) * n2).sum(dim=-1) * (c - b).norm(p=2, dim=-1)
        return torch.atan2(y, (n1 * n2).sum(dim=-1))

    def _wrap(self, angle: Tensor) -> Tensor:
        return torch.atan2(angle.sin(), angle.cos())

    @torch.jit.export
    def encode(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Deviations of the slow [B, 1, slow] and fast [B, 1, fast] torsions from the reference, radians."""
        deviation = self._wrap(self._torsions(positions) - self.rest).unsqueeze(1)
        return deviation[:, :, : self.n_slow], deviation[:, :, self.n_slow :]

    @torch.jit.export
    def mean_step(self, slow: Tensor, lag: Tensor) -> Tensor:
        """Conditional mean after `lag` [B] ps."""
        return slow * torch.exp(-lag / self.tau)[:, None, None]

    @torch.jit.export
    def step(self, slow: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Exact transition over `lag` [B] ps, with noise [B, slow].

        Args:
            slow: slow torsions [batch, 1, slow], radians.
            lag: shape [batch], ps.
            noise: standard normal [batch, slow].
        """
        spread = self.sigma * torch.sqrt(1.0 - torch.exp(-2.0 * lag / self.tau))
        return self.mean_step(slow, lag) + spread[:, None, None] * noise.unsqueeze(1)

    @torch.jit.export
    def reconstruct(self, slow: Tensor, fast: Tensor, noise: Tensor) -> Tensor:
        """Positions [B, N, 3] nm with the given torsions; nothing is left to the noise.

        Args:
            slow: slow torsions [batch, 1, slow], radians.
            fast: fast torsions [batch, 1, fast], radians.
            noise: not used.
        """
        turns = torch.cat([slow, fast], dim=2)[:, 0]
        x = self.reference.unsqueeze(0).expand(slow.shape[0], self.n_atoms, 3)
        for i in range(turns.shape[1]):
            origin = x[:, int(self.quads[i, 1])].unsqueeze(1)
            axis = x[:, int(self.quads[i, 2])].unsqueeze(1) - origin
            axis = axis / axis.norm(p=2, dim=-1, keepdim=True)
            arm = x - origin
            cos, sin = turns[:, i, None, None].cos(), turns[:, i, None, None].sin()
            along = axis * (axis * arm).sum(dim=-1, keepdim=True)
            turned = arm * cos + torch.linalg.cross(axis.expand_as(arm), arm) * sin + along * (1.0 - cos)
            x = x + self.moved[i] * (turned - arm)
        return x - x.mean(dim=1, keepdim=True)

    @torch.jit.export
    def decode(self, slow: Tensor, noise: Tensor) -> Tensor:
        """Positions [B, N, 3] nm with fast torsions drawn from noise [B, fast]."""
        uniform = math.pi * torch.erf(noise / 2.0**0.5)
        return self.reconstruct(slow, uniform.unsqueeze(1), noise)

    @torch.jit.export
    def energy(self, positions: Tensor) -> Tensor:
        """Harmonic bonds, [B] kJ/mol."""
        lengths = (positions[:, self.bonds[:, 0]] - positions[:, self.bonds[:, 1]]).norm(p=2, dim=-1)
        energy: Tensor = 0.5 * self.stiffness * (lengths - self.lengths).square().sum(dim=-1)
        return energy

    @torch.jit.export
    def latent_energy(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the energy given the torsions: both zero, since decoded bonds are at rest."""
        zero = slow.sum(dim=(1, 2)) * 0.0 + fast.sum(dim=(1, 2)) * 0.0
        return zero, zero


def torsion_surrogate(topology: Any, positions: ArrayLike, **options: float) -> TorsionSurrogate:
    """A `TorsionSurrogate` of a peptide: phi and psi are slow, methyl rotations fast.

    Args:
        topology: openmm.app or mdtraj topology with bonds.
        positions: reference structure [N, 3] nm.
        **options: tau, sigma and stiffness.
    """
    atoms = list(topology.atoms() if callable(topology.atoms) else topology.atoms)
    pairs = list(topology.bonds() if callable(topology.bonds) else topology.bonds)
    bonds = [(int(bond[0].index), int(bond[1].index)) for bond in pairs]
    neighbours: list[list[int]] = [[] for _ in atoms]
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    hydrogen = [atom.element.symbol == "H" for atom in atoms]
    slow, fast = [], []
    for i, atom in enumerate(atoms):
        heavy = [j for j in neighbours[i] if not hydrogen[j]]
        if atom.name == "CA":
            named = {atoms[j].name: j for j in neighbours[i]}
            before = next((j for j in neighbours[named["N"]] if atoms[j].name == "C"), None)
            after = next((j for j in neighbours[named["C"]] if atoms[j].name == "N"), None)
            if before is not None:
                slow.append(_turn(neighbours, before, named["N"], i, named["C"]))
            if after is not None:
                slow.append(_turn(neighbours, named["N"], i, named["C"], after))
        elif len(heavy) == 1 and sum(hydrogen[j] for j in neighbours[i]) == 3:
            far = next(j for j in neighbours[heavy[0]] if j != i and not hydrogen[j])
            fast.append(_turn(neighbours, far, heavy[0], i, next(j for j in neighbours[i] if hydrogen[j])))
    return TorsionSurrogate(positions, slow, fast, bonds, **options)


def _turn(neighbours: list[list[int]], a: int, b: int, c: int, d: int) -> tuple[list[int], list[int]]:
    """The torsion a-b-c-d and every atom on c's side of the bond b-c."""
    side, front = {c}, [c]
    while front:
        front = [j for i in front for j in neighbours[i] if j not in side and (i, j) != (c, b)]
        side.update(front)
    return [a, b, c, d], sorted(side)
