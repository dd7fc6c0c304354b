"""The latent force as one TorchScript module: what `LatentProvider` does, for hosts without Python."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from latentmd.core.noise import fingerprint_factors
from latentmd.integrators.openmm_constraints import ConstraintProjector
from latentmd.integrators.openmm_provider import ANSWERED, LOST_TEXT, POSITIONS, SELECTION, VELOCITIES
from latentmd.integrators.openmm_selection import Selection
from latentmd.model.propagator import Propagator
from latentmd.molecule.checks import MAX_Z, StructureTemplate
from latentmd.molecule.geometry import kabsch
from latentmd.molecule.matching import HydrogenHands

FAILURES = (
    "",
    "the positions in the Context are not finite; load an earlier state",
    "the model cannot make a step of this size; use a multiple of a lag within its range",
    "no sound structure in 10 draws",
    "constrained bonds could not be restored",
    "an atom would move further than the molecule allows",
    LOST_TEXT,  # index openmm_provider.LOST, which the integrator itself names
    "the structure is another stereoisomer than the model's (a hand, or cis and trans); use plain MD for it",
)


def _low_bits(x: Tensor, shift: int) -> Tensor:
    """Logical right shift of 64-bit words held in signed integers."""
    return (x >> shift) & ((1 << (64 - shift)) - 1)


def _high_product(a: Tensor, b: int) -> Tensor:
    """Upper 64 bits of the unsigned product (Warren, Hacker's Delight, section 8-2)."""
    a0, a1 = a & 0xFFFFFFFF, _low_bits(a, 32)
    b0, b1 = b & 0xFFFFFFFF, (b >> 32) & 0xFFFFFFFF
    t = a1 * b0 + _low_bits(a0 * b0, 32)
    u = a0 * b1 + (t & 0xFFFFFFFF)
    return a1 * b1 + _low_bits(t, 32) + _low_bits(u, 32)


def philox_normals(seed: int, stream: int, step: int, purpose: int, first_block: int, count: int) -> Tensor:
    """`CounterNoise` from a block on, [count]: Philox 4x64, ten rounds (Salmon et al., SC 2011), then Box–Muller."""
    blocks = (count + 3) // 4
    c0 = torch.arange(1, blocks + 1, dtype=torch.int64) + first_block
    c1, c2, c3 = torch.zeros_like(c0), torch.full_like(c0, purpose), torch.full_like(c0, step)
    k0 = torch.full_like(c0, seed)
    k1 = torch.full_like(c0, stream)
    for _ in range(10):
        # 0xD2E7470EE14C6C93 and 0xCA5A826395121157, as signed words.
        h0, l0 = _high_product(c0, -3249550476889527149), c0 * -3249550476889527149
        h1, l1 = _high_product(c2, -3865633965929787049), c2 * -3865633965929787049
        c0, c1, c2, c3 = h1 ^ c1 ^ k0, l1, h0 ^ c3 ^ k1, l0
        k0 = k0 + -7046029254386353131  # 0x9E3779B97F4A7C15
        k1 = k1 + -4942790177534073029  # 0xBB67AE8584CAA73B
    words = torch.stack([c0, c1, c2, c3], dim=1).flatten()
    uniform = (_low_bits(words, 11).to(torch.float64) + 0.5) * 2.0**-53
    radius = torch.sqrt(-2.0 * torch.log(uniform[0::2]))
    angle = 2.0 * math.pi * uniform[1::2]
    normals = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1).flatten()
    return normals[:count]


def _kept(values: ArrayLike) -> Tensor:
    """A buffer of a module."""
    return nn.Buffer(torch.as_tensor(np.asarray(values)))


class SoundStructure(nn.Module):
    """The checks of `latentmd.molecule.checks.check_frames` on one frame [n, 3] of finite positions."""

    def __init__(self, template: StructureTemplate) -> None:
        super().__init__()
        first, second, gaps = template.contacts.pairs
        self.bonds, self.bond_mean = _kept(template.bonds), _kept(template.bond_mean)
        self.bond_limit = _kept(MAX_Z * template.bond_deviation)
        self.angles, self.angle_mean = _kept(template.angles), _kept(template.angle_mean)
        self.angle_limit = _kept(MAX_Z * template.angle_deviation)
        self.centres, self.handedness = _kept(template.centres), _kept(template.handedness)
        self.pairs, self.gaps = _kept(np.stack([first, second], axis=1)), _kept(gaps)
        self.fixed, self.isomer = _kept(template.fixed), _kept(template.isomer)

    def forward(self, x: Tensor) -> bool:
        """Whether positions [atoms, 3] nm pass all checks."""
        lengths = (x[self.bonds[:, 0]] - x[self.bonds[:, 1]]).norm(p=2, dim=-1)
        u, v = x[self.angles[:, 0]] - x[self.angles[:, 1]], x[self.angles[:, 2]] - x[self.angles[:, 1]]
        angles = torch.atan2(torch.linalg.cross(u, v).norm(p=2, dim=-1), (u * v).sum(dim=-1))
        gaps = (x[self.pairs[:, 0]] - x[self.pairs[:, 1]]).square().sum(dim=-1)
        return (
            bool(((lengths - self.bond_mean).abs() <= self.bond_limit).all())
            and bool(((angles - self.angle_mean).abs() <= self.angle_limit).all())
            and self.same_isomer(x)
            and bool((gaps >= self.gaps).all())
        )

    def same_isomer(self, x: Tensor) -> bool:
        """Whether stereocentres and amides of positions [atoms, 3] nm are as in the molecule."""
        p, q, r = [x[self.fixed[:, i + 1]] - x[self.fixed[:, i]] for i in range(3)]
        turned = (torch.linalg.cross(p, q) * torch.linalg.cross(q, r)).sum(dim=-1) * self.isomer < 0
        return bool((torch.sign(volumes(x, self.centres)) == self.handedness).all()) and not bool(turned.any())


def volumes(x: Tensor, quads: Tensor) -> Tensor:
    """Signed volume [quads] nm³ at each atom of three of its neighbours; x [atoms, 3] nm, quads [quads, 4]."""
    a, b, c = x[quads[:, 1]] - x[quads[:, 0]], x[quads[:, 2]] - x[quads[:, 0]], x[quads[:, 3]] - x[quads[:, 0]]
    out: Tensor = (a * torch.linalg.cross(b, c)).sum(dim=-1)
    return out


class LatentForce(nn.Module):
    """Displacements and velocities of latent steps from positions and the integrator's Context parameters.

    Same protocol, noise and numbers as `latentmd.integrators.openmm_provider.LatentProvider`, as long as the Context
    has no parameters of other forces and no State is stepped twice. A failure is reported as the energy, an index of
    FAILURES, and never raised: an exception inside TorchForce can end the process.
    """

    def __init__(self, propagator: Propagator, selection: Selection) -> None:
        super().__init__()
        projector = ConstraintProjector(selection.pairs, selection.lengths, selection.masses)
        self.surrogate: Any = propagator.module.to("cpu")
        self.sound = SoundStructure(propagator.template)
        self.shortest, self.longest = propagator.lag_range
        self.step_noise, self.decode_noise = int(self.surrogate.step_noise), int(self.surrogate.decode_noise)
        self.reach, self.tolerance = selection.reach, projector.tolerance
        self.remove_momentum, self.double_precision = selection.remove_momentum, propagator.manifest.dtype == "float64"
        self.answered = ANSWERED
        self.moving, self.redrawing, self.selecting = POSITIONS, VELOCITIES, SELECTION
        self.tree = [(int(child), int(parent)) for child, parent in selection.tree]
        hydrogens = HydrogenHands.of(*propagator.molecule())
        self.hydrogen_quads, self.hydrogen_pairs = _kept(hydrogens.quads), _kept(hydrogens.pairs)
        self.hydrogen_signs = _kept(hydrogens.signs)
        self.atoms, self.masses = _kept(selection.atoms), _kept(selection.masses)
        self.incidence, self.lengths = _kept(projector.incidence), _kept(projector.lengths)
        self.coupling = _kept(projector.coupling)
        self.factors = _kept(fingerprint_factors(3 * len(selection.atoms)).view(np.int64).reshape(-1, 3))
        self.velocities = _kept(np.zeros((len(selection.atoms), 3)))

    def forward(
        self, x: Tensor, box: Tensor, mode: Tensor, kT: Tensor, time: Tensor, seed: Tensor, stream: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Energy (ANSWERED, 0, or the index of a failure) and forces [N, 3], contiguous, for all particles [N, 3] nm.

        As TorchForce calls it in a periodic System (`box` [3, 3] nm); `FreeLatentForce` is for the others.
        """
        asked = int(mode.item())
        rows = torch.zeros(self.atoms.shape[0], 3, dtype=torch.float64)
        energy = torch.zeros([], dtype=torch.float64)
        if asked == self.moving:
            with torch.no_grad():
                own = self._whole(x.to(torch.float64)[self.atoms], box)
                words = torch.floor((own - own[0]) * 65536.0 + 0.5).to(torch.int64)  # as `core.noise.fingerprint`
                mixed = int((words * self.factors).sum().item())
                key = int(seed.item()) ^ mixed, int(stream.item()), int(step.item())
                y, code = self._propose(own, float(time), key[0], key[1], key[2])
                energy = energy + (self.answered if code == 0 else float(code))
                if code == 0:
                    rows = y - own
                    self.velocities.copy_(self._draw_velocities(y, float(kT), key[0], key[1], key[2]))
        elif asked == self.redrawing:
            rows = self.velocities.clone()
        elif asked == self.selecting:
            rows = rows + 1.0
        return energy, torch.zeros(x.shape[0], 3, dtype=torch.float64).index_copy(0, self.atoms, rows).contiguous()

    def _propose(self, x: Tensor, time: float, seed: int, stream: int, step: int) -> tuple[Tensor, int]:
        if not bool(torch.isfinite(x).all()):
            return x, 1
        if not self.sound.same_isomer(x):
            return x, 7
        steps = max(1, math.ceil(time / self.longest * (1.0 - 1e-6))) if time > 0.0 else 1
        lag = time / steps
        if lag < self.shortest * (1.0 - 1e-6):
            return x, 2
        dtype = torch.float64 if self.double_precision else torch.float32
        lags = torch.full([1], min(max(lag, self.shortest), self.longest), dtype=dtype)
        wrong = self.hydrogen_pairs[volumes(x, self.hydrogen_quads) * self.hydrogen_signs < 0]  # see `HydrogenHands`
        order = torch.arange(x.shape[0]).index_copy(0, wrong.flatten(), wrong.flip(1).flatten())
        given = x[order]
        start = self.surrogate.encode((given - given.mean(dim=0)).to(dtype).unsqueeze(0))[0]
        centre = (self.masses.unsqueeze(1) * x).sum(dim=0) / self.masses.sum()
        for draw in range(10):
            y = self._draw(start, lags, steps, seed, stream, step, 2 + draw)
            y = kabsch(y, given.unsqueeze(0), self.masses[order])[0]
            if bool(torch.isfinite(y).all()) and self.sound(y):
                return self._constrained(x, torch.zeros_like(y).index_copy(0, order, y), centre)
        return x, 3

    def _draw(self, slow: Tensor, lags: Tensor, steps: int, seed: int, stream: int, step: int, purpose: int) -> Tensor:
        block = 0
        for _ in range(steps):
            noise = philox_normals(seed, stream, step, purpose, block, self.step_noise).to(slow.dtype)
            slow = self.surrogate.step(slow, lags, noise.unsqueeze(0))
            block += (self.step_noise + 3) // 4
        noise = philox_normals(seed, stream, step, purpose, block, self.decode_noise).to(slow.dtype)
        decoded: Tensor = self.surrogate.decode(slow, noise.unsqueeze(0))
        return decoded.to(torch.float64)

    def _constrained(self, x: Tensor, y: Tensor, centre: Tensor) -> tuple[Tensor, int]:
        """Newton projection of ConstraintProjector, the centre of mass put back, and the bound on displacements."""
        for _ in range(50 if self.lengths.shape[0] > 0 else 0):
            r = torch.matmul(self.incidence, y)
            c = 0.5 * (r.square().sum(dim=1) - self.lengths.square())
            worst = float((c.abs() / self.lengths.square()).max())
            if worst <= self.tolerance:
                break
            if not math.isfinite(worst):
                return x, 4
            y = y - self._spread(r, torch.linalg.solve(self.coupling * torch.matmul(r, r.t()), c))
        if self.lengths.shape[0] > 0:
            r = torch.matmul(self.incidence, y)
            if not float((r.norm(p=2, dim=1) / self.lengths - 1.0).abs().max()) <= 1e-8:
                return x, 4
        y = y + centre - (self.masses.unsqueeze(1) * y).sum(dim=0) / self.masses.sum()
        if not float((y - x).norm(p=2, dim=1).max()) <= self.reach:
            return x, 5
        return y, 0

    def _draw_velocities(self, y: Tensor, kT: float, seed: int, stream: int, step: int) -> Tensor:
        v = philox_normals(seed, stream, step, 1, 0, 3 * y.shape[0]).reshape(-1, 3)
        v = v * torch.sqrt(kT / self.masses).unsqueeze(1)
        if self.remove_momentum:
            v = v - (self.masses.unsqueeze(1) * v).sum(dim=0) / self.masses.sum()
        if self.lengths.shape[0] > 0:
            r = torch.matmul(self.incidence, y)
            rate = (r * torch.matmul(self.incidence, v)).sum(dim=1)
            v = v - self._spread(r, torch.linalg.solve(self.coupling * torch.matmul(r, r.t()), rate))
        return v

    def _spread(self, r: Tensor, multipliers: Tensor) -> Tensor:
        return torch.matmul(self.incidence.t(), r * multipliers.unsqueeze(1)) / self.masses.unsqueeze(1)

    def _whole(self, x: Tensor, box: Tensor) -> Tensor:
        """Positions with no bond across a face of the periodic box."""
        if box.numel() == 0:
            return x
        cell = box.to(torch.float64)
        inverse = torch.linalg.inv(cell)
        x = x.clone()
        for child, parent in self.tree:
            turns = torch.round(torch.matmul(x[child] - x[parent], inverse))
            x[child] = x[child] - torch.matmul(turns, cell)
        return x


class FreeLatentForce(nn.Module):
    """LatentForce as TorchForce calls it in a System without a periodic box."""

    def __init__(self, force: LatentForce) -> None:
        super().__init__()
        self.force = force

    def forward(
        self, positions: Tensor, mode: Tensor, kT: Tensor, time: Tensor, seed: Tensor, stream: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Energy and forces [N, 3]."""
        out: tuple[Tensor, Tensor] = self.force(positions, torch.zeros(0, 0), mode, kT, time, seed, stream, step)
        return out
