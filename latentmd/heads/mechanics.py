"""Energy in the functional form of molecular mechanics, linear in its parameters and therefore fitted exactly."""

# No postponed annotations here: torch.jit.script reads the types of buffers.
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from latentmd.data.topology import chemistry

_PAIR_ATOMS = 40  # with more atoms, pairs would bring more parameters than frames can fix
_FORCE_WEIGHT = 0.05  # nm: weight of a force against an energy in the fit
_CHUNK = 100  # frames whose Jacobian is held at a time


class MechanicsPrior(nn.Module):
    """U(x) = Σ_m a_m (f_m(x) − ⟨f_m⟩) + U_0 with the terms f of a class-I force field.

    | terms | f |
    |---|---|
    | bonds between heavy atoms | r, r² |
    | angles | θ, θ² |
    | proper torsions | cos φ, cos 2φ, cos 3φ |
    | pairs three or more bonds apart, up to 40 atoms | 1/r, r⁻⁶, r⁻¹², exp(−r / 0.2 nm) |

    The parameters a are fitted by ridge regression to engine energies and forces. The form is that of the force fields
    that make the training data (Cornell et al. 1995), so little is left for a network: many-body solvation. Bonds to
    hydrogen are constrained in the engine and have no term.

    Args:
        topology: of the molecule (mdtraj, OpenMM or Chemistry).
    """

    bonds: Tensor
    angles: Tensor
    torsions: Tensor
    pairs: Tensor
    mean: Tensor
    parameters_: Tensor
    offset: Tensor

    def __init__(self, topology: Any) -> None:
        super().__init__()
        record = chemistry(topology)
        near = record.neighbours()
        heavy = [symbol != "H" for symbol in record.symbols]
        bonds = [(i, j) for i, j in record.bonds if heavy[i] and heavy[j]]
        angles = [(i, j, k) for j, around in enumerate(near) for i in around for k in around if i < k]
        torsions = [
            (i, j, k, m) for j, k in record.bonds for i in near[j] for m in near[k] if i != k and m not in (i, j)
        ]
        self.register_buffer("bonds", torch.tensor(bonds, dtype=torch.long).reshape(-1, 2))
        self.register_buffer("angles", torch.tensor(angles, dtype=torch.long).reshape(-1, 3))
        self.register_buffer("torsions", torch.tensor(torsions, dtype=torch.long).reshape(-1, 4))
        pairs = _distant_pairs(near) if record.n_atoms <= _PAIR_ATOMS else []
        self.register_buffer("pairs", torch.tensor(pairs, dtype=torch.long).reshape(-1, 2))
        size = 2 * len(bonds) + 2 * len(angles) + 3 * len(torsions) + 4 * len(pairs)
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("parameters_", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("offset", torch.zeros((), dtype=torch.float64))

    def terms(self, positions: Tensor) -> Tensor:
        """Values f of all terms, [batch, atoms, 3] nm → [batch, terms]."""
        r = torch.linalg.vector_norm(positions[:, self.bonds[:, 0]] - positions[:, self.bonds[:, 1]], dim=-1)
        u = positions[:, self.angles[:, 0]] - positions[:, self.angles[:, 1]]
        v = positions[:, self.angles[:, 2]] - positions[:, self.angles[:, 1]]
        theta = torch.atan2(torch.linalg.vector_norm(torch.linalg.cross(u, v, dim=-1), dim=-1), (u * v).sum(-1))
        axis = positions[:, self.torsions[:, 2]] - positions[:, self.torsions[:, 1]]
        first = positions[:, self.torsions[:, 0]] - positions[:, self.torsions[:, 1]]
        last = positions[:, self.torsions[:, 3]] - positions[:, self.torsions[:, 2]]
        a, b = torch.linalg.cross(first, axis, dim=-1), torch.linalg.cross(last, axis, dim=-1)
        cosine = (a * b).sum(-1) / (
            torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
        ).clamp_min(1e-12)
        double = 2 * cosine * cosine - 1
        d = torch.linalg.vector_norm(positions[:, self.pairs[:, 0]] - positions[:, self.pairs[:, 1]], dim=-1)
        sixth = (0.3 / d) ** 6
        bonded = torch.cat([r, r * r, theta, theta * theta, cosine, double, cosine * (2 * double - 1)], dim=1)
        return torch.cat([bonded, 0.3 / d, sixth, sixth * sixth, torch.exp(-d / 0.2)], dim=1)

    def forward(self, positions: Tensor) -> Tensor:
        """[batch, atoms, 3] nm → [batch] kJ/mol; sums in float64, since large terms cancel."""
        terms = self.terms(positions.to(self.mean.dtype))
        return ((terms - self.mean) @ self.parameters_ + self.offset).to(positions.dtype)

    def fit(self, positions: Tensor, energies: Tensor, forces: Tensor, ridge: float = 1e-6) -> None:
        """Set the parameters from frames [frames, atoms, 3], energies [frames] kJ/mol and forces kJ/mol/nm."""
        x, target = positions.double(), energies.double()
        with torch.no_grad():
            values = torch.cat([self.terms(chunk) for chunk in x.split(_CHUNK)])
        mean, offset = values.mean(0), target.mean()
        size = values.shape[1]
        gram, right = (values - mean).T @ (values - mean), (values - mean).T @ (target - offset)
        for frame, force in zip(x.split(_CHUNK), forces.double().split(_CHUNK), strict=True):
            gradient = -_FORCE_WEIGHT * self._jacobian(frame).flatten(2).transpose(1, 2).reshape(-1, size)
            gram += gradient.T @ gradient
            right += _FORCE_WEIGHT * (gradient.T @ force.reshape(-1))
        scale = gram.diagonal().sqrt().clamp_min(1e-9)
        system = gram / scale / scale.unsqueeze(1) + ridge * torch.eye(size, dtype=torch.float64)
        self.parameters_.copy_(torch.linalg.solve(system, right / scale) / scale)
        self.mean.copy_(mean)
        self.offset.copy_(offset)

    def _jacobian(self, frames: Tensor) -> Tensor:
        """Derivatives of the terms, [batch, terms, atoms, 3]."""
        with warnings.catch_warnings():  # torch.func itself still uses TorchScript
            warnings.filterwarnings("ignore", ".*torch.jit.*", DeprecationWarning)
            per_frame = torch.func.jacfwd(lambda frame: self.terms(frame.unsqueeze(0))[0])
            out: Tensor = torch.func.vmap(per_frame)(frames)
        return out


def _distant_pairs(near: list[list[int]]) -> list[tuple[int, int]]:
    """Pairs of atoms that are neither bonded nor share a neighbour."""
    close = [{i, *around, *(k for j in around for k in near[j])} for i, around in enumerate(near)]
    return [(i, j) for i in range(len(near)) for j in range(i) if j not in close[i]]
