"""Full-atom decoder: latent axes → internal coordinates → positions with all hydrogens."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from latentmd.core.layers import mlp
from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.molecule.geometry import wrap

_TORSION_WEIGHT = 10.0  # of torsions over bonds and angles, whose fluctuations are mostly noise
#: Spreads in nm and radians above which bonds, angles and offsets count for more: those between molecules.
_STIFF = 0.03, 0.1, 0.3
_RIDGE = 0.01  # of a linear read-out, over the variance of an axis
_LEFT = 512  # validation frames of which that is kept which the network leaves
_LEVER = 5.0  # atoms that a bond or angle may carry and still be given all that is left of it
_LEAST_SPREAD = 0.15  # of a cosine or sine: stiffer torsions (amides) count as if they moved by 9 degrees


class TorsionDecoder(nn.Module):
    """w [batch, axes] and noise → positions [batch, atoms, 3] nm. A network gives each rotatable torsion as a direction
    on the circle, and every other bond length, angle and torsion offset as a deviation from its mean in units of its
    spread; chirality is fixed by the template's mean offsets. The phase of a rotor (CH3, NH3+) is decoded modulo 120°
    and the labels are turned by a random third. What the network leaves is added as it was in a validation frame drawn
    at random: all coordinates together, since those of a ring must close it and errors of neighbouring torsions that
    cancel leave the far end of a chain where it is, and with the few large errors that a normal distribution of the
    same spread would put into every frame.

    A width of 0 is a linear read-out: the way a latent is grounded in training, and, by `solve`, the decoder of latents
    that were told their torsions, which it gives back as no network does. Left-overs of a random frame at every joint
    make a long chain swell, as the steps of a random walk do: of a linear read-out torsions have none, and bonds,
    angles and offsets the less, the more atoms they carry.
    """

    def __init__(self, coordinates: InternalCoordinates, axes: int, width: int = 256) -> None:
        super().__init__()
        self.coordinates = coordinates
        n = coordinates.n_atoms
        kind = torch.as_tensor(coordinates.driver_kind)
        drivers = torch.as_tensor(coordinates.driver_index)
        self.n_bonds, self.n_angles, self.n_atoms = n - 1, n - 2, n
        self.third = 2 * math.pi / 3
        self.n_rotors, self.n_plain = int((kind == 3).sum()), int((kind != 3).sum())
        self.n_drivers = self.n_rotors + self.n_plain
        self.rotor = nn.Buffer(drivers[kind == 3])
        self.plain = nn.Buffer(drivers[kind != 3])
        self.others = nn.Buffer(torch.as_tensor(coordinates.offset_index))
        self.hydrogens = nn.Buffer(coordinates.rotor_hydrogens.clone())
        n_rest = self.n_bonds + self.n_angles + len(self.others)
        self.mean = nn.Buffer(torch.zeros(n_rest))
        self.scale = nn.Buffer(torch.ones(n_rest))
        self.left: Tensor = nn.Buffer(torch.zeros(1, self.n_drivers + n_rest, dtype=torch.half))
        self.spread = nn.Buffer(torch.ones(self.n_drivers, 2))
        self.phase = nn.Buffer(torch.zeros(self.n_rotors))
        outputs = 2 * self.n_drivers + n_rest
        self.linear = width == 0
        self.network: Any = mlp([axes, width, width, outputs]) if width else nn.Linear(axes, outputs)
        self.noise_size = 1 + self.n_rotors

    def forward(self, w: Tensor, noise: Tensor) -> Tensor:
        """Positions from axes w [batch, axes] and standard normal noise [batch, noise_size] (zeros: the mean)."""
        turns, rest = self.predict(w)
        left = self.left[_choice(noise[:, 0], len(self.left))].to(w.dtype) * (noise[:, :1] != 0)
        positions = self.assemble(turns + left[:, : self.n_drivers], rest + left[:, self.n_drivers :])
        return self.relabel(positions, _choice(noise[:, 1:], 3))

    def read(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Directions [batch, drivers, 2] on the circle and scaled deviations [batch, rest], as the network gives."""
        out = self.network(w)
        return out[:, : 2 * self.n_drivers].reshape(-1, self.n_drivers, 2), out[:, 2 * self.n_drivers :]

    def predict(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Driver angles [batch, drivers] (plain ones first; rotors as three times the phase) and scaled deviations."""
        directions, rest = self.read(w)
        return torch.atan2(directions[..., 1], directions[..., 0]), rest

    def assemble(self, turns: Tensor, rest: Tensor) -> Tensor:
        """Internal coordinates in the form of `predict` → positions."""
        values = self.mean + self.scale * rest
        bonds, angles = values[:, : self.n_bonds], values[:, self.n_bonds : self.n_bonds + self.n_angles]
        torsions = torch.zeros(turns.shape[0], self.n_atoms - 3, dtype=turns.dtype, device=turns.device)
        torsions[:, self.plain] = turns[:, : self.n_plain]
        torsions[:, self.rotor] = self.phase + wrap(turns[:, self.n_plain :] - 3 * self.phase) / 3
        torsions[:, self.others] = values[:, self.n_bonds + self.n_angles :]
        return self.coordinates.to_cartesian(bonds, angles, torsions)

    def relabel(self, positions: Tensor, third: Tensor) -> Tensor:
        """Cyclically exchange the hydrogens of each rotor, third [batch, rotors] in {0, 1, 2} (a proper rotation)."""
        index = torch.arange(self.n_atoms, device=positions.device).repeat(positions.shape[0], 1)
        order = torch.arange(3, device=positions.device)
        for r in range(self.n_rotors):
            index[:, self.hydrogens[r]] = self.hydrogens[r][(order.unsqueeze(0) + third[:, r : r + 1]) % 3]
        return torch.gather(positions, 1, index.unsqueeze(-1).expand(-1, -1, 3))

    def rotor_thirds(self, positions: Tensor) -> Tensor:
        """The relabelling that brings each rotor's first hydrogen within 60° of the mean phase, [batch, rotors]."""
        torsions = self.coordinates.to_internal(positions)[2][:, self.rotor]
        return torch.remainder(-torch.round(wrap(torsions - self.phase) / self.third).long(), 3)

    @torch.no_grad()
    def fit_statistics(self, positions: Tensor) -> None:
        """Set the means, spreads and rotor phases from training frames [frames, atoms, 3] nm."""
        torsions = self.coordinates.to_internal(positions)[2][:, self.rotor]
        self.phase.copy_(torch.atan2((3 * torsions).sin().mean(0), (3 * torsions).cos().mean(0)) / 3)
        self.coordinates.orient_rotors(positions)
        backwards = self.coordinates.rotor_direction < 0  # hydrogens are ordered by increasing torsion
        self.hydrogens.copy_(self.coordinates.rotor_hydrogens)
        self.hydrogens[backwards] = self.hydrogens[backwards][:, [0, 2, 1]]
        bonds, angles, torsions = self.coordinates.to_internal(self.relabel(positions, self.rotor_thirds(positions)))
        offsets = torsions[:, self.others]
        centre = torch.atan2(offsets.sin().mean(0), offsets.cos().mean(0))
        offsets = centre + wrap(offsets - centre)
        values = torch.cat([bonds, angles, offsets], dim=1)
        self.mean.copy_(values.mean(0))
        self.scale.copy_(values.std(0).clamp_min(1e-5))
        turns = torch.cat([torsions[:, self.plain], 3 * torsions[:, self.rotor]], dim=1)
        self.spread.copy_(torch.stack([turns.cos(), turns.sin()], dim=-1).std(0).clamp_min(_LEAST_SPREAD))

    @torch.no_grad()
    def begin_at_the_mean(self, positions: Tensor) -> None:
        """Let a linear read-out begin at the mean of some frames, or its first gradients shift all latents alike."""
        self.network.weight.zero_()
        self.network.bias.copy_(self._read_of(positions).mean(0))

    @torch.no_grad()
    def solve(self, w: Tensor, positions: Tensor, batch: int) -> None:
        """Fit a linear read-out of axes [frames, axes] to frames [frames, atoms, 3] nm, a batch at a time, by ridge
        regression.
        """
        size = w.shape[1] + 1
        square, moment = (torch.zeros(size, n, dtype=torch.double) for n in (size, self.network.out_features))
        for some, frames in zip(w.split(batch), positions.split(batch), strict=True):
            x = nn.functional.pad(some.double(), (0, 1), value=1.0)
            square, moment = square + x.T @ x, moment + x.T @ self._read_of(frames).double()
        square.diagonal()[:-1] += _RIDGE * len(w)
        found = torch.linalg.solve(square, moment)
        self.network.weight.copy_(found[:-1].T)
        self.network.bias.copy_(found[-1])

    def _read_of(self, positions: Tensor) -> Tensor:
        """What the network should give for frames, [batch, outputs]."""
        turns, rest = self.targets(positions)
        return torch.cat([torch.stack([turns.cos(), turns.sin()], dim=-1).flatten(1), rest], dim=1)

    def targets(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """What `predict` should give for frames [batch, atoms, 3] nm."""
        bonds, angles, torsions = self.coordinates.to_internal(self.relabel(positions, self.rotor_thirds(positions)))
        turns = torch.cat([torsions[:, self.plain], 3 * torsions[:, self.rotor]], dim=1)
        centre = self.mean[self.n_bonds + self.n_angles :]
        offsets = centre + wrap(torsions[:, self.others] - centre)
        return turns, (torch.cat([bonds, angles, offsets], dim=1) - self.mean) / self.scale

    def loss(self, w: Tensor, positions: Tensor) -> Tensor:
        """Mean squared errors of the torsions' cosines and sines, weighted and over their spread, and of the rest, in
        which what places one molecule beside another counts by its square."""
        directions, rest = self.read(w)
        turns, true_rest = self.targets(positions)
        true_directions = torch.stack([torch.cos(turns), torch.sin(turns)], dim=-1)
        error = (directions - true_directions) / self.spread
        stiff = torch.tensor(_STIFF).repeat_interleave(torch.tensor([self.n_bonds, self.n_angles, len(self.others)]))
        weight = (self.scale / stiff.to(self.scale)).square().clamp_min(1.0)
        return _TORSION_WEIGHT * error.square().mean() + (weight * (rest - true_rest).square()).mean()

    @torch.no_grad()
    def fit_residual(self, w: Tensor, positions: Tensor) -> None:
        """Keep what the network leaves of validation frames, about `_LEFT` of them."""
        turns, rest = self.predict(w)
        true_turns, true_rest = self.targets(positions)
        left = torch.cat([wrap(true_turns - turns), true_rest - rest], dim=1)
        if self.linear:
            carried = torch.ones(self.n_atoms)
            for k in range(self.n_atoms - 1, 0, -1):
                carried[self.coordinates.bond_parent[k - 1]] += carried[k]
            levers = torch.cat([carried[1:], carried[2:], carried[3:][self.others.cpu()]]).to(left)
            left[:, : self.n_plain] = 0.0
            left[:, self.n_drivers :] *= (_LEVER / levers).clamp_max(1.0)
        self.left = left[:: -(-len(left) // _LEFT)].half()


def _choice(noise: Tensor, number: int) -> Tensor:
    """One of so many, equally likely, for each standard normal number."""
    return torch.floor(0.5 * number * (1 + torch.erf(noise / math.sqrt(2.0)))).clamp(0, number - 1).long()
