"""Tests for parts of your own: contract checks of encoders, predictors and decoders, a surrogate with known answers.

The checks raise AssertionError with what was found. They hold for every part in this package; run them on yours:

    from latentmd.testing import check_predictor
    check_predictor(MyPredictor(dim=4), torch.randn(8, 1, 4), lag=torch.full((8,), 10.0))

`TorsionSurrogate` stands in for a trained model in tests of engine adapters.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn


def check_encoder(encoder: nn.Module, observation: Tensor, *, tolerance: float = 1e-5) -> Tensor:
    """Tokens [batch, tokens, dim] that depend on nothing but the observation [batch, ...]; returns them.

    Checks shape, type and finiteness; that a frame's tokens do not depend on its batch; that the same call gives the
    same answer and leaves the observation as it was; and that scripted = eager.

    Args:
        encoder: the module.
        observation: shape [batch, ...].
        tolerance: largest absolute difference.
    """
    batch = observation.shape[0]
    before = observation.clone()
    z = _frozen(encoder, observation)
    assert z.dim() == 3 and z.shape[0] == batch, (
        f"found tokens of shape {tuple(z.shape)}, expected [{batch}, tokens, dim]"
    )
    _check_values(z, observation.dtype)
    _close(observation, before, 0.0, "the observation was changed")
    _close(_frozen(encoder, observation), z, 0.0, "the same call gave another answer")
    _check_rows(lambda rows: _frozen(encoder, observation[rows]), z, tolerance)
    _close(_frozen(_scripted(encoder), observation), z, tolerance, "scripted and eager tokens differ")
    return z


def check_invariance(encoder: nn.Module, positions: Tensor, *, tolerance: float = 1e-5, seed: int = 0) -> None:
    """Rotating and moving positions [batch, atoms, 3] nm leaves the tokens alone; a mirror image changes them.

    Args:
        encoder: of positions.
        positions: shape [batch, atoms, 3], nm.
        tolerance: largest difference, relative to the largest token.
        seed: of the rotation.
    """
    generator = torch.Generator().manual_seed(seed)
    z = _frozen(encoder, positions)
    scale = max(1.0, float(z.abs().max()))
    rotated = positions @ random_rotation(generator).to(positions) + torch.randn(3, generator=generator).to(positions)
    _close(_frozen(encoder, rotated), z, tolerance * scale, "a rotation and a translation changed the tokens")
    mirrored = positions * torch.tensor([-1.0, 1.0, 1.0]).to(positions)
    change = float((_frozen(encoder, mirrored) - z).abs().amax(dim=(1, 2)).min())
    assert change > 10 * tolerance, f"a mirror image changed the tokens by {change:.1e} only; they must tell chirality"


def check_relabelling(encoder: nn.Module, positions: Tensor, order: Sequence[int], *, tolerance: float = 1e-5) -> None:
    """Exchanging equivalent atoms, positions[:, order], leaves the tokens alone.

    Args:
        encoder: of positions.
        positions: shape [batch, atoms, 3], nm.
        order: a permutation of equivalent atoms.
        tolerance: largest difference, relative to the largest token.
    """
    z = _frozen(encoder, positions)
    limit = tolerance * max(1.0, float(z.abs().max()))
    _close(_frozen(encoder, positions[:, list(order)]), z, limit, "exchanging equivalent atoms changed the tokens")


def check_predictor(predictor: nn.Module, z: Tensor, lag: Tensor, *, tolerance: float = 1e-5, seed: int = 0) -> Tensor:
    """`step(z, lag, noise)` is a function of its arguments, row by row, in the shape of z; returns one draw.

    Checks shape, type and finiteness; that the noise decides everything (no hidden draw, another noise another
    answer, unless `noise_size` is 0); that a row does not depend on its batch; scripted = eager.

    Args:
        predictor: the module, with `noise_size`.
        z: tokens [batch, tokens, dim].
        lag: [batch], in the predictor's range and not all at its shortest.
        tolerance: largest absolute difference.
        seed: of the noise.
    """
    size = int(predictor.noise_size)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(z.shape[0], size, generator=generator).to(z)
    step: Any = predictor.step
    out = _frozen(step, z, lag, noise)
    assert out.shape == z.shape, f"found a step of shape {tuple(out.shape)}, expected {tuple(z.shape)} as z"
    _check_values(out, z.dtype)
    _check_no_hidden_draw(step, out, z, lag, noise)
    if size:
        other = _frozen(step, z, lag, torch.randn(noise.shape, generator=generator).to(z))
        assert not torch.equal(out, other), "another noise gave the same step; the noise must decide the draw"
    _check_rows(lambda rows: _frozen(step, z[rows], lag[rows], noise[rows]), out, tolerance)
    _close(_frozen(_scripted(predictor).step, z, lag, noise), out, tolerance, "scripted and eager steps differ")
    return out


def check_decoder(decoder: nn.Module, axes: Tensor, n_atoms: int, *, tolerance: float = 1e-5, seed: int = 0) -> Tensor:
    """`decoder(axes, noise)` gives centred structures [batch, n_atoms, 3] nm, from its arguments alone; returns them.

    Checks as `check_predictor` does, with `noise_size` of the decoder.

    Args:
        decoder: the module, with `noise_size`.
        axes: latent axes [batch, axes].
        n_atoms: number of atoms expected.
        tolerance: largest absolute difference.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(axes.shape[0], int(decoder.noise_size), generator=generator).to(axes)  # type: ignore[arg-type]
    x = _frozen(decoder, axes, noise)
    expected = (axes.shape[0], n_atoms, 3)
    assert x.shape == expected, f"found positions of shape {tuple(x.shape)}, expected {expected}"
    _check_values(x, axes.dtype)
    _close(x.mean(dim=1), torch.zeros_like(x[:, 0]), tolerance, "the structures are not centred")
    _check_no_hidden_draw(decoder, x, axes, noise)
    _check_rows(lambda rows: _frozen(decoder, axes[rows], noise[rows]), x, tolerance)
    _close(_frozen(_scripted(decoder), axes, noise), x, tolerance, "scripted and eager structures differ")
    return x


def random_rotation(generator: torch.Generator) -> Tensor:
    """A proper rotation matrix [3, 3], uniform over SO(3) (QR of a normal matrix; Stewart 1980)."""
    q, r = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    q = q * torch.sign(torch.diagonal(r))
    rotation: Tensor = q * torch.linalg.det(q)
    return rotation


def _frozen(function: Any, *arguments: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = function(*arguments)
    return out


def _scripted(module: nn.Module) -> Any:
    from latentmd.model.file import script

    return script(module)


def _close(found: Tensor, expected: Tensor, tolerance: float, message: str) -> None:
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance, msg=lambda detail: f"{message}: {detail}")


def _check_values(out: Tensor, dtype: torch.dtype) -> None:
    assert out.dtype == dtype, f"found values of type {out.dtype}, expected {dtype} as the input"
    assert bool(torch.isfinite(out).all()), "found values that are not finite"


def _check_rows(of_rows: Callable[[slice], Tensor], whole: Tensor, tolerance: float) -> None:
    rows = torch.cat([of_rows(slice(i, i + 1)) for i in range(whole.shape[0])])
    _close(rows, whole, tolerance, "one row alone and in a batch differ")


def _check_no_hidden_draw(function: Any, out: Tensor, *arguments: Tensor) -> None:
    state = torch.random.get_rng_state()
    torch.manual_seed(1)
    again = _frozen(function, *arguments)
    drawn = torch.random.get_rng_state()
    torch.manual_seed(1)
    untouched = torch.equal(drawn, torch.random.get_rng_state())
    torch.random.set_rng_state(state)
    assert untouched, "torch's global random state was used; all randomness must come from the noise"
    _close(again, out, 0.0, "the same noise gave another answer")


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
