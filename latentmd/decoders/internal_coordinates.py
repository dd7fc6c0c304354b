"""Full-atom positions from bond lengths, angles and torsions, and back (Z-matrix and NeRF)."""

import torch
from torch import Tensor, nn

from latentmd.molecule.chemistry import Chemistry, Topology, chemistry
from latentmd.molecule.geometry import wrap
from latentmd.molecule.z_matrix import ZMatrix, z_matrix


class InternalCoordinates(nn.Module):
    """The map between Cartesian and internal coordinates of one molecule; TorchScript-able, without parameters.

        x_i = x_a + r (−cos θ u + sin θ cos φ n × u + sin θ sin φ n),   u ∥ x_a − x_b,  n ∥ (x_b − x_c) × u

    (NeRF; Parsons et al., J. Comput. Chem. 26, 1063, 2005) places every atom i after the first three by bond i-a, angle
    i-a-b and torsion i-a-b-c, all atoms of one tree depth and all frames at once. Of the atoms on one bond a-b one is
    the driver, named by the IUPAC torsion where there is one; the others store the difference from its torsion, a
    narrow number whose sign is the chirality. Torsions about straight angles are undefined: linear molecules are not
    covered.

    Attributes: order: atoms in order of placement: bonds belong to order[1:], angles to order[2:], torsions to
    order[3:]. driver, driver_index: atom of each driver and its place in the torsion vector; offset, offset_index:
    others'. driver_kind: 3 for a rotor of three equivalent hydrogens (CH3, NH3+), otherwise 0. rotor_hydrogens:
    [rotors, 3], the driver's hydrogen first. rotor_direction: ±1 where the second hydrogen of a rotor is at ±120° from
    the first, by `orient_rotors`.
    """

    def __init__(self, names: list[str], layout: ZMatrix) -> None:
        super().__init__()
        self.names = names
        self.n_atoms = len(names)
        moved = layout.order[3:]
        drivers = [k for k, i in enumerate(moved) if layout.driver[k] == i]
        offsets = [k for k, i in enumerate(moved) if layout.driver[k] != i]
        self.n_drivers = len(drivers)
        rotors = [layout.rotors[moved[k]] for k in drivers if moved[k] in layout.rotors]
        self.order = _whole(layout.order)
        self.driver = _whole([moved[k] for k in drivers])
        self.driver_index = _whole(drivers)
        self.driver_kind = _whole([3 if moved[k] in layout.rotors else 0 for k in drivers])
        self.offset = _whole([moved[k] for k in offsets])
        self.offset_index = _whole(offsets)
        self.rotor_hydrogens = nn.Buffer(torch.tensor(rotors, dtype=torch.long).reshape(-1, 3))
        self.rotor_direction = nn.Buffer(torch.ones(len(rotors), dtype=torch.long))
        self._placement(layout)

    def _placement(self, layout: ZMatrix) -> None:
        """Index buffers in placement order: of the parents, of the shared local frames and of the driver torsions."""
        place = {atom: k for k, atom in enumerate(layout.order)}
        root, second = layout.order[:2]
        triples = [(place[a], place[b], place[c]) for a, b, c in layout.parents]
        self.inverse = _whole([place[i] for i in range(self.n_atoms)])
        self.bond_parent = _whole([place[root], place[root], *(a for a, _, _ in triples)])
        self.angle_parent = _whole([place[second], *(b for _, b, _ in triples)])
        self.torsion_parent = _whole([c for _, _, c in triples])
        moved = {atom: k for k, atom in enumerate(layout.order[3:])}
        self.base = _whole([moved.get(i, 0) for i in layout.driver])
        pairs = zip(layout.order[3:], layout.driver, strict=True)
        self.follows = nn.Buffer(torch.tensor([float(i not in (-1, atom)) for atom, i in pairs]))
        # Atoms on the same bond a-b share a local frame, which is computed once.
        self.bounds: list[int] = [3]
        self.frame_bounds: list[int] = [0]
        frames: list[tuple[int, int, int]] = []
        frame_of: list[int] = []
        for depth in sorted(set(layout.depth[3:])):
            members = [k for k, d in enumerate(layout.depth) if d == depth and k > 2]
            shared = sorted({triples[k - 3] for k in members})
            frame_of += [shared.index(triples[k - 3]) for k in members]
            frames += shared
            self.bounds.append(members[-1] + 1)
            self.frame_bounds.append(len(frames))
        self.frame_of = _whole(frame_of)
        self.frames = nn.Buffer(torch.tensor(frames, dtype=torch.long).reshape(-1, 3).t().contiguous())

    @classmethod
    def from_topology(cls, topology: Topology) -> "InternalCoordinates":
        """Those of a molecule (mdtraj, OpenMM or Chemistry) of at least four atoms with bonds, by `z_matrix`."""
        record: Chemistry = chemistry(topology)
        return cls(list(record.labels), z_matrix(record))

    def orient_rotors(self, positions: Tensor) -> None:
        """Set `rotor_direction` from frames [batch, atoms, 3] nm of the molecule."""
        index = self.inverse[self.rotor_hydrogens[:, 1]] - 3
        offsets = self.to_internal(positions)[2][:, index]
        self.rotor_direction.copy_(torch.sign(torch.sin(offsets).mean(0)).long())

    def to_internal(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bonds [batch, atoms - 1] nm, angles [batch, atoms - 2] in [0, π] and torsions [batch, atoms - 3] in [-π, π],
        absolute for drivers and relative to their driver for the others, of whole molecules [batch, atoms, 3] nm.
        """
        x = positions.permute(2, 1, 0)[:, self.order]  # [3, atoms, batch]: atoms are gathered as contiguous rows
        r = x[:, 1:] - x[:, self.bond_parent]
        bonds = _length(r)
        to_b = x[:, self.angle_parent] - x[:, self.bond_parent[1:]]
        across = torch.linalg.cross(r[:, 1:], to_b, dim=0)
        angles = torch.atan2(_length(across), (r[:, 1:] * to_b).sum(0))
        axis = to_b[:, 1:]
        normal = torch.linalg.cross(axis, x[:, self.torsion_parent] - x[:, self.angle_parent[1:]], dim=0)
        sine = _length(axis) * -(r[:, 2:] * normal).sum(0)
        torsions = torch.atan2(sine, -(across[:, 1:] * normal).sum(0))
        relative = torsions - self.follows.to(torsions.dtype).unsqueeze(-1) * torsions[self.base]
        return bonds.t(), angles.t(), wrap(relative).t()

    def to_cartesian(self, bonds: Tensor, angles: Tensor, torsions: Tensor) -> Tensor:
        """Frames [batch, atoms, 3] nm of what `to_internal` gives, centred, in an arbitrary orientation."""
        r, theta, t = bonds.t().contiguous(), angles.t().contiguous(), torsions.t().contiguous()
        phi = t + self.follows.to(t.dtype).unsqueeze(-1) * t[self.base]
        along, across = -r[1:] * torch.cos(theta), r[1:] * torch.sin(theta)
        local = torch.stack([along[1:], across[1:] * torch.cos(phi), across[1:] * torch.sin(phi)])
        zero = torch.zeros_like(r[0])
        # The first atom at the origin, the second along x, the third in the xy plane.
        third = torch.stack([-along[0], across[0], zero])
        x = torch.stack([torch.zeros_like(third), torch.stack([r[0], zero, zero]), third], dim=1)
        for level in range(len(self.bounds) - 1):
            parents = self.frames[:, self.frame_bounds[level] : self.frame_bounds[level + 1]]
            a, b, c = x[:, parents[0]], x[:, parents[1]], x[:, parents[2]]
            u = _unit(a - b)
            n = _unit(torch.linalg.cross(b - c, u, dim=0))
            m = torch.linalg.cross(n, u, dim=0)
            start, stop = self.bounds[level] - 3, self.bounds[level + 1] - 3
            own = self.frame_of[start:stop]
            d = local[:, start:stop]
            x = torch.cat([x, a[:, own] + d[0] * u[:, own] + d[1] * m[:, own] + d[2] * n[:, own]], dim=1)
        return (x - x.mean(dim=1, keepdim=True))[:, self.inverse].permute(2, 1, 0).contiguous()


def _whole(values: list[int]) -> Tensor:
    """A buffer of whole numbers."""
    return nn.Buffer(torch.tensor(values, dtype=torch.long))


def _length(vectors: Tensor) -> Tensor:
    """Length of vectors [3, ...], differentiable at zero (the added square is far below that of any bond, in nm)."""
    return torch.sqrt((vectors * vectors).sum(0) + 1e-20)


def _unit(vectors: Tensor) -> Tensor:
    """Vectors [3, ...] scaled to length one."""
    return vectors / _length(vectors)
