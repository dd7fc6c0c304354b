"""Decoder of peptides: torsions of each residue → positions with all hydrogens, by residue type and not by molecule."""

import torch
from torch import Tensor, nn

from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.molecule.chain import SLOTS, Chain
from latentmd.molecule.geometry import wrap

_PSI, _PHI = SLOTS.index("psi"), SLOTS.index("phi")
_RIDGE = 1e-3  # of the regression, in units of its features' variance
_ROTOR = 3  # kind of a torsion that three equal hydrogens share


def regression_features(angles: Tensor, mask: Tensor, phi: int = _PHI, psi: int = _PSI) -> Tensor:
    """Constant, harmonics of own torsions and the psi before, products of phi's and psi's: [batch, tokens, n]."""
    weight = mask.to(angles.dtype)
    turned = [angles.cos(), angles.sin(), (2 * angles).cos(), (2 * angles).sin()]
    waves = torch.stack([x * weight for x in turned], dim=-1)
    own = waves[:, :, psi]
    before = torch.cat([torch.zeros_like(own[:, :1]), own[:, :-1]], dim=1)
    products = (waves[:, :, phi, :2].unsqueeze(-1) * own[..., :2].unsqueeze(-2)).flatten(-2)
    return torch.cat([torch.ones_like(angles[..., :1]), waves.flatten(-2), before, products], dim=-1)


def internal_vector(coordinates: InternalCoordinates, positions: Tensor) -> Tensor:
    """Bonds, angles and torsions of frames in one vector, [frames, 3 · atoms − 6]."""
    return torch.cat(coordinates.to_internal(positions), dim=1)


class ResidueStatistics:
    """Sums for the local geometry of each kind of residue (`Chain.templates`): regression of internal coordinates that
    do not turn freely on `regression_features`, and the covariance of what is left.
    """

    def __init__(self) -> None:
        self.centre: dict[str, Tensor] = {}
        self.kinds: dict[str, Tensor] = {}
        self.sums: dict[str, list[Tensor]] = {}
        self.counts: dict[str, int] = {}

    def add(self, chain: Chain, vector: Tensor, angles: Tensor) -> None:
        """Add frames of one molecule: `internal_vector` and slots' angles [frames, tokens, slots] in radians."""
        mask = torch.from_numpy(chain.mask).to(angles.device).unsqueeze(0)
        x = {d: regression_features((1 - 2 * d) * angles, mask).double() for d in set(chain.types[:, 2].tolist())}
        for token, template in enumerate(chain.templates):
            kinds = torch.from_numpy(chain.kinds[token]).to(vector.device)
            d = int(chain.types[token, 2])
            raw = vector[:, torch.from_numpy(chain.rest[token]).to(vector.device)].double() * _mirror(kinds, d)
            if template not in self.centre:
                self.kinds[template] = kinds
                self.centre[template] = _centre(raw, kinds)
                n, m = x[d].shape[-1], raw.shape[1]
                shapes = ((n, n), (n, m), (m, m))
                self.sums[template] = [torch.zeros(s, dtype=torch.float64, device=vector.device) for s in shapes]
            y, own = _deviation(raw, kinds, self.centre[template]), x[d][:, token]
            for total, part in zip(self.sums[template], (own.T @ own, own.T @ y, y.T @ y), strict=True):
                total += part
            self.counts[template] = self.counts.get(template, 0) + len(y)

    def table(self) -> dict[str, dict[str, Tensor]]:
        """For each kind of residue: centre [m], coefficients [features, m], and a root of the residual covariance."""
        out = {}
        for template, (xx, xy, yy) in self.sums.items():
            n = self.counts[template]
            a = xx / n + _RIDGE * torch.eye(len(xx), dtype=xx.dtype, device=xx.device)
            b = torch.linalg.solve(a, xy / n)
            rest = yy / n - xy.T @ b / n - b.T @ xy / n + b.T @ (xx / n) @ b
            values, vectors = torch.linalg.eigh((rest + rest.T) / 2)
            root = vectors * values.clamp_min(0).sqrt()
            out[template] = {
                "centre": self.centre[template].float().cpu(),
                "coefficients": b.float().cpu(),
                "root": root.float().cpu(),
                "kinds": self.kinds[template].cpu(),
            }
        return out


def _mirror(kinds: Tensor, d: int) -> Tensor:
    """Signs by which internal coordinates of an L residue become those of its mirror image (d = 1)."""
    return torch.where((kinds >= 2) & (d == 1), -1.0, 1.0)


def _centre(raw: Tensor, kinds: Tensor) -> Tensor:
    """Mean, circular for torsions; of a rotor the phase modulo a third of a turn."""
    folds = torch.where(kinds == _ROTOR, 3.0, 1.0).to(raw.dtype)
    circular = torch.atan2((folds * raw).sin().mean(0), (folds * raw).cos().mean(0)) / folds
    return torch.where(kinds >= 2, circular, raw.mean(0))


def _deviation(raw: Tensor, kinds: Tensor, centre: Tensor) -> Tensor:
    folds = torch.where(kinds == _ROTOR, 3.0, 1.0).to(raw.dtype)
    return torch.where(kinds >= 2, wrap(folds * (raw - centre)) / folds, raw - centre)


class ResidueDecoder(nn.Module):
    """Torsions [batch, tokens, slots] and noise → positions [batch, atoms, 3] nm; KeyError for an unknown residue."""

    def __init__(self, chain: Chain, table: dict[str, dict[str, Tensor]]) -> None:
        super().__init__()
        missing = sorted({t for t in chain.templates if t not in table})
        if missing:
            raise KeyError(f"no local geometry is known of: {'; '.join(missing)}")
        self.coordinates = InternalCoordinates(list(chain.record.labels), chain.layout)
        n = chain.record.n_atoms
        self.n_atoms, self.n_bonds, self.n_angles = n, n - 1, n - 2
        self.mask = nn.Buffer(torch.from_numpy(chain.mask).unsqueeze(0))
        self.hand = nn.Buffer(torch.from_numpy(1.0 - 2.0 * chain.types[:, 2]).float().reshape(1, -1, 1))
        slots = torch.from_numpy(chain.slots).flatten()
        self.slot_place = nn.Buffer((slots >= 0).nonzero().squeeze(-1))
        self.slot_column = nn.Buffer(slots[slots >= 0])
        self.tokens = len(chain.templates)
        self.noise_size = sum(len(rest) for rest in chain.rest)
        size, features = 3 * n - 6, int(table[chain.templates[0]]["coefficients"].shape[0])
        centre, coefficients = torch.zeros(size), torch.zeros(self.tokens * features, size)
        root, done = torch.zeros(size, self.noise_size), 0
        for token, template in enumerate(chain.templates):
            rest, entry = torch.from_numpy(chain.rest[token]), table[template]
            sign = _mirror(entry["kinds"], int(chain.types[token, 2]))
            centre[rest] = entry["centre"].float() * sign
            coefficients[token * features : (token + 1) * features, rest] = entry["coefficients"].float() * sign
            root[rest, done : done + len(rest)] = entry["root"].float() * sign.unsqueeze(1)
            done += len(rest)
        self.centre = nn.Buffer(centre)
        self.coefficients = nn.Buffer(coefficients)
        self.root = nn.Buffer(root.t().contiguous())

    @torch.jit.export
    def angles(self, positions: Tensor) -> Tensor:
        """Torsions [batch, tokens, slots] of positions [batch, atoms, 3] nm, 0 where there is none."""
        torsions = self.coordinates.to_internal(positions)[2]
        out = torch.zeros(positions.shape[0], self.mask[0].numel(), dtype=positions.dtype, device=positions.device)
        out[:, self.slot_place] = torsions[:, self.slot_column]
        return out.reshape(-1, self.mask.shape[1], self.mask.shape[2])

    def forward(self, angles: Tensor, noise: Tensor) -> Tensor:
        """Positions of torsions; standard normal noise [batch, noise_size], zeros for mean bonds and angles."""
        x = regression_features(angles, self.mask)
        if bool((self.hand < 0).any()):
            x = torch.where(self.hand < 0, regression_features(-angles, self.mask), x)
        x = x.flatten(1)
        values = self.centre + x @ self.coefficients + noise @ self.root
        torsions = values[:, self.n_bonds + self.n_angles :]
        torsions = torsions.index_copy(1, self.slot_column, angles.flatten(1)[:, self.slot_place])
        bonds, bends = values[:, : self.n_bonds], values[:, self.n_bonds : self.n_bonds + self.n_angles]
        return self.coordinates.to_cartesian(bonds, bends, torsions)
