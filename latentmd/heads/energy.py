"""Energies: in the form of molecular mechanics, of full-atom positions with exact forces, and of latents."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latentmd.core.layers import mlp
from latentmd.encoders.egnn import AtomEncoder
from latentmd.molecule.chemistry import Topology, chemistry

Atoms = Sequence[tuple[int, ...]]  # of each term

_PAIR_ATOMS = 40  # with more atoms, pairs would bring more parameters than frames can fix
_FORCE_WEIGHT = 0.05  # nm: weight of a force against an energy in the fit
_SPRING = 5e4  # kJ/mol/nm², about a fifth of a force field's for bonds to hydrogen
_SLACK = 1e-3  # nm, the rounding of coordinates in XTC files
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
    hydrogen are constrained in the engine, so that the labels say nothing of them. A spring that pulls where such a
    bond is more than 0.001 nm off the constrained length holds them in hosts without constraints.
    """

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        record = chemistry(topology)
        near = record.neighbours()
        heavy = [symbol != "H" for symbol in record.symbols]
        bonds = [(i, j) for i, j in record.bonds if heavy[i] and heavy[j]]
        held = [(i, j) for i, j in record.bonds if not (heavy[i] and heavy[j])]
        angles = [(i, j, k) for j, around in enumerate(near) for i in around for k in around if i < k]
        torsions = [
            (i, j, k, m) for j, k in record.bonds for i in near[j] for m in near[k] if i != k and m not in (i, j)
        ]
        close = [{i, *around, *(k for j in around for k in near[j])} for i, around in enumerate(near)]
        pairs = [(i, j) for i in range(len(near)) for j in range(i) if j not in close[i]]
        pairs = pairs if record.n_atoms <= _PAIR_ATOMS else []
        lists = zip((bonds, angles, torsions, pairs, held), (2, 3, 4, 2, 2), strict=True)
        self.bonds, self.angles, self.torsions, self.pairs, self.held = (
            nn.Buffer(torch.tensor(rows, dtype=torch.long).reshape(-1, atoms)) for rows, atoms in lists
        )
        ends = torch.tensor(_ends(bonds, angles, torsions, pairs), dtype=torch.long).reshape(-1, 2)
        self.heads = nn.Buffer(ends[:, 0].contiguous())
        self.tails = nn.Buffer(ends[:, 1].contiguous())
        self.slack = _SLACK
        size = 2 * len(bonds) + 2 * len(angles) + 3 * len(torsions) + 4 * len(pairs)
        shapes: tuple[list[int], ...] = ([len(held)], [], [size], [size], [])
        self.lengths, self.stiffness, self.mean, self.parameters_, self.offset = (
            nn.Buffer(torch.zeros(shape, dtype=torch.float64)) for shape in shapes
        )

    def terms(self, positions: Tensor) -> Tensor:
        """Values f of all terms, [batch, atoms, 3] nm → [batch, terms]."""
        x = positions.permute(1, 2, 0).contiguous()  # frames last, so that every operation runs along them
        vectors = x.index_select(0, self.heads) - x.index_select(0, self.tails)
        b, a, t = len(self.bonds), len(self.angles), len(self.torsions)
        bond, u, v, first, axis, last, pair = vectors.split([b, a, a, t, t, t, len(self.pairs)])
        r, d = torch.sqrt((bond * bond).sum(1)), torch.sqrt((pair * pair).sum(1))
        cosine = (u * v).sum(1) * torch.rsqrt((u * u).sum(1) * (v * v).sum(1))
        theta = torch.acos(cosine.clamp(-1 + 1e-12, 1 - 1e-12))
        # (a × b) · (c × b) = (a · c) b² − (a · b)(b · c) for the normals of the torsion's planes.
        along_first, along_last, square = (first * axis).sum(1), (last * axis).sum(1), (axis * axis).sum(1)
        normals = ((first * first).sum(1) * square - along_first * along_first) * (
            (last * last).sum(1) * square - along_last * along_last
        )
        dihedral = ((first * last).sum(1) * square - along_first * along_last) * torch.rsqrt(normals.clamp_min(1e-24))
        double = 2 * dihedral * dihedral - 1
        inverse = 0.3 / d
        square_inverse = inverse * inverse
        sixth = square_inverse * square_inverse * square_inverse
        bonded = torch.cat([r, r * r, theta, theta * theta, dihedral, double, dihedral * (2 * double - 1)])
        return torch.cat([bonded, inverse, sixth, sixth * sixth, torch.exp(-5 * d)]).T

    def forward(self, positions: Tensor) -> Tensor:
        """[batch, atoms, 3] nm → [batch] kJ/mol; sums in float64, since large terms cancel."""
        x = positions.to(self.mean.dtype)
        stretch = ((self._held_lengths(x) - self.lengths).abs() - self.slack).clamp_min(0.0)
        linear = (self.terms(x) - self.mean) @ self.parameters_ + self.offset
        return (linear + 0.5 * self.stiffness * (stretch * stretch).sum(1)).to(positions.dtype)

    def _held_lengths(self, positions: Tensor) -> Tensor:
        """Bonds to hydrogen [batch, bonds] in nm."""
        vectors = positions.index_select(1, self.held[:, 0]) - positions.index_select(1, self.held[:, 1])
        return torch.sqrt((vectors * vectors).sum(-1))

    def fit(self, positions: Tensor, energies: Tensor, forces: Tensor, ridge: float = 1e-6) -> None:
        """Fit to frames [frames, atoms, 3], energies [frames] kJ/mol and forces kJ/mol/nm; columns scaled to norm 1."""
        x, target = positions.double(), energies.double()
        self.lengths.copy_(self._held_lengths(x).mean(0))
        self.stiffness.fill_(_SPRING)
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

    def force_error(self, positions: Tensor, forces: Tensor) -> float:
        """RMS error of the forces [frames, atoms, 3] kJ/mol/nm over their RMS."""
        x = positions.detach().double().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self(x).sum(), x)
        return float((gradient + forces).square().mean().sqrt() / forces.double().square().mean().sqrt())

    def _jacobian(self, frames: Tensor) -> Tensor:
        """Derivatives of the terms, [batch, terms, atoms, 3]."""
        with warnings.catch_warnings():  # torch.func itself still uses TorchScript
            warnings.filterwarnings("ignore", ".*torch.jit.*", DeprecationWarning)
            out: Tensor = torch.func.vmap(torch.func.jacfwd(lambda frame: self.terms(frame.unsqueeze(0))[0]))(frames)
        return out


def _ends(bonds: Atoms, angles: Atoms, torsions: Atoms, pairs: Atoms) -> list[tuple[int, ...]]:
    """Atoms (head, tail) of the vectors: bonds, angles' two legs, torsions' first leg, axis and last leg, pairs."""
    legs = [(i, j) for i, j, _ in angles] + [(k, j) for _, j, k in angles]
    planes = [(i, j) for i, j, _, _ in torsions] + [(k, j) for _, j, k, _ in torsions]
    return [*bonds, *legs, *planes, *((m, k) for _, _, k, m in torsions), *pairs]


class EnergyHead(nn.Module):
    """U(x) = U_prior(x) + U_0 [+ s Σ_i e(h_i(x))] in kJ/mol and its exact forces; h are per-atom features of a copy of
    the JEPA encoder, trained further; without an encoder the prior alone. U_0 and s: mean and spread of what it leaves.
    """

    def __init__(self, encoder: AtomEncoder | None, prior: MechanicsPrior, offset: float, scale: float) -> None:
        super().__init__()
        self.offset, self.scale = float(offset), float(scale)
        self.encoder, self.prior = encoder, prior
        self.atomwise = mlp([encoder.width, encoder.width, 1]) if encoder is not None else None

    def forward(self, positions: Tensor) -> Tensor:
        """[batch, atoms, 3] nm → [batch] kJ/mol."""
        out: Tensor = self.prior(positions) + self.offset
        if self.encoder is not None and self.atomwise is not None:
            out = out + self.scale * self.atomwise(self.encoder.atoms(positions)).sum(1).squeeze(-1)
        return out

    def loss(self, positions: Tensor, energies: Tensor, forces: Tensor, force_weight: float) -> tuple[Tensor, Tensor]:
        """Mean squared errors of energies and of forces, both in units of `scale` (and of scale / 0.01 nm)."""
        positions = positions.detach().requires_grad_(True)
        predicted = self(positions)
        (gradient,) = torch.autograd.grad(predicted.sum(), positions, create_graph=True)
        energy = ((predicted - energies) / self.scale).square().mean()
        force = ((gradient + forces) * (0.01 / self.scale)).square().mean()
        return energy + force_weight * force, force


class LatentEnergyHead(nn.Module):
    """E[U | z] and Var[U | z] from the latent axes alone, by Gaussian likelihood; U fluctuates at fixed z."""

    def __init__(self, axes: int, mean: float, spread: float, width: int = 128) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.tensor(mean))
        self.spread = nn.Buffer(torch.tensor(spread))
        self.network = mlp([axes, width, width, 2], last_zero=True)

    def forward(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Axes [batch, axes] → mean [batch] kJ/mol and variance [batch] (kJ/mol)²."""
        out = self.network(w)
        return self.mean + self.spread * out[:, 0], self.spread**2 * torch.exp(2 * out[:, 1].clamp(-5, 5))

    def loss(self, w: Tensor, energies: Tensor) -> Tensor:
        """Mean Gaussian negative log-likelihood of energies, up to a constant."""
        mean, variance = self(w)
        loss: Tensor = (0.5 * torch.log(variance) + 0.5 * (energies - mean).square() / variance).mean()
        return loss
