"""Torsion decoder: targets and assembly are inverse, chirality stays, relabelling is a proper rotation, noise."""

from __future__ import annotations

import copy
import math
from typing import Any

import networkx
import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.decoders.torsions import TorsionDecoder
from latentmd.molecule.checks import chiral_quads, signed_volumes, topology_arrays
from latentmd.molecule.geometry import kabsch, wrap


def _volumes(positions: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(signed_volumes(positions.detach().double().numpy(), centres.numpy()))


def stereocentres(topology: Any) -> Tensor:
    return torch.from_numpy(chiral_quads(*topology_arrays(topology)))


@pytest.fixture(scope="module")
def frames(alanine_runs: list[Any]) -> Tensor:
    return torch.from_numpy(np.concatenate(alanine_runs))


@pytest.fixture(scope="module")
def decoder(alanine_topology: Any, frames: Tensor, perturb: Any) -> TorsionDecoder:
    torch.manual_seed(0)
    made = TorsionDecoder(InternalCoordinates.from_topology(alanine_topology), 6, 16)
    made.fit_statistics(frames)
    return perturb(made)  # type: ignore[no-any-return]


def staggered(decoder: TorsionDecoder, frames: Tensor, within: float) -> Tensor:
    """Which frames have every rotor within so many degrees of its mean phase, modulo 120 degrees."""
    canonical = decoder.relabel(frames, decoder.rotor_thirds(frames))
    torsions = decoder.coordinates.to_internal(canonical)[2][:, decoder.rotor]
    return (wrap(torsions - decoder.phase).abs() < math.radians(within)).all(dim=1)


def test_assemble_inverts_targets_up_to_cyclic_hydrogen_labels(decoder: TorsionDecoder, frames: Tensor) -> None:
    rebuilt = decoder.assemble(*decoder.targets(frames))
    canonical = decoder.relabel(frames, decoder.rotor_thirds(frames))
    inside = staggered(decoder, frames, 59.9)
    assert inside.float().mean() > 0.9
    distance = (kabsch(rebuilt, canonical) - canonical).norm(dim=-1)
    assert float(distance[inside].max()) < 2e-4  # nm, in single precision over a chain of 22 atoms
    heavy = [i for i in range(22) if i not in decoder.hydrogens.flatten().tolist()]
    assert torch.equal(canonical[:, heavy], frames[:, heavy])
    # A rotor on its barrier may come out a third further: heavy atoms are exact, labels differ, angles by a vibration.
    distance = (kabsch(rebuilt[:, heavy], frames[:, heavy]) - frames[:, heavy]).norm(dim=-1)
    assert float(distance.max()) < 2e-4
    some = frames[~inside]
    found, placed = decoder.assemble(*decoder.targets(some)), []
    for turn in torch.cartesian_prod(*decoder.n_rotors * [torch.arange(3)]):
        other = decoder.relabel(some, turn.expand(len(some), -1))
        placed.append((kabsch(found, other) - other).norm(dim=-1).amax(dim=1))
    assert len(some) and float(torch.stack(placed).amin(dim=0).max()) < 0.06


def test_targets_are_the_same_for_relabelled_hydrogens(decoder: TorsionDecoder, frames: Tensor) -> None:
    some = frames[staggered(decoder, frames, 25.0)]
    assert len(some) > 50
    turns, rest = decoder.targets(some)
    for third in (1, 2):
        relabelled = decoder.relabel(some, torch.full((len(some), decoder.n_rotors), third))
        assert not torch.equal(relabelled, some)
        other_turns, other_rest = decoder.targets(relabelled)
        assert wrap(other_turns - turns).abs().max() < 1e-4
        torch.testing.assert_close(other_rest, rest, rtol=0, atol=1e-3)


def test_relabelling_turns_a_rotor_by_a_third_without_reflecting_it(decoder: TorsionDecoder, frames: Tensor) -> None:
    some = frames[::100]
    before = decoder.coordinates.to_internal(some)[2][:, decoder.rotor]
    once = decoder.relabel(some, torch.ones(len(some), decoder.n_rotors, dtype=torch.long))
    after = decoder.coordinates.to_internal(once)[2][:, decoder.rotor]
    assert (wrap(after - before) - 2 * math.pi / 3).abs().max() < math.radians(25)  # hydrogens vibrate
    for rotor in decoder.hydrogens.tolist():
        carbon = int(torch.cdist(some[:1, rotor], some[:1]).sum(dim=1).argmin())
        centre = torch.tensor([[carbon, *rotor]])
        volumes = [_volumes(x, centre) for x in (some, once)]
        assert torch.equal(volumes[0].sign(), volumes[1].sign())
    thrice = once
    for _ in range(2):
        thrice = decoder.relabel(thrice, torch.ones(len(some), decoder.n_rotors, dtype=torch.long))
    assert torch.equal(thrice, some)


def test_canonical_hydrogens_are_within_60_degrees_of_the_phase(decoder: TorsionDecoder, frames: Tensor) -> None:
    canonical = decoder.relabel(frames, decoder.rotor_thirds(frames))
    torsions = decoder.coordinates.to_internal(canonical)[2][:, decoder.rotor]
    # 60 degrees, and what the other hydrogens' offsets of about 120 degrees vary by
    assert wrap(torsions - decoder.phase).abs().max() < math.radians(85)
    assert wrap(torsions - decoder.phase).abs().median() < math.radians(30)


def test_chirality_is_that_of_the_training_frames_whatever_the_axes(
    decoder: TorsionDecoder, frames: Tensor, alanine_topology: Any
) -> None:
    centres = stereocentres(alanine_topology)
    assert len(centres) == 1
    sign = _volumes(frames[:1], centres).sign()
    axes = 5 * torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        turns, _ = decoder.predict(axes)
        built = decoder.assemble(turns, torch.zeros(200, len(decoder.mean)))
    assert torch.equal(_volumes(built, centres).sign(), sign.expand(200, -1))


def test_mirrored_training_frames_give_the_mirrored_molecule(alanine_topology: Any, frames: Tensor) -> None:
    mirrored = frames[::20] * torch.tensor([1.0, 1.0, -1.0])
    other = TorsionDecoder(InternalCoordinates.from_topology(alanine_topology), 6, 16)
    other.fit_statistics(mirrored)
    mirrored = mirrored[staggered(other, mirrored, 59.9)]
    rebuilt = other.assemble(*other.targets(mirrored))
    canonical = other.relabel(mirrored, other.rotor_thirds(mirrored))
    assert len(mirrored) > 50
    assert float((kabsch(rebuilt, canonical) - canonical).norm(dim=-1).max()) < 2e-4
    centres = stereocentres(alanine_topology)
    assert torch.equal(_volumes(rebuilt, centres).sign(), -_volumes(frames[: len(rebuilt)], centres).sign())


def test_statistics_scale_deviations_to_unit_variance(decoder: TorsionDecoder, frames: Tensor) -> None:
    _, rest = decoder.targets(frames)
    moving = decoder.scale > 1e-5  # constrained bonds keep the floor
    assert rest[:, moving].mean(0).abs().max() < 1e-2
    torch.testing.assert_close(rest[:, moving].std(0), torch.ones(int(moving.sum())), rtol=0.02, atol=0)


def test_residual_noise_has_the_measured_spread(alanine_topology: Any, frames: Tensor) -> None:
    """A decoder with zero weights predicts the mean: what it leaves is the spread of the data."""
    blank = TorsionDecoder(InternalCoordinates.from_topology(alanine_topology), 6, 16)
    blank.fit_statistics(frames)
    with torch.no_grad():
        for parameter in blank.parameters():
            parameter.zero_()
    axes = torch.zeros(len(frames), 6)
    before = blank(axes[:2], torch.randn(2, blank.noise_size))
    torch.testing.assert_close(before[0].sum(0), torch.zeros(3), rtol=0, atol=1e-5)  # nothing is left yet
    blank.fit_residual(axes, frames)
    turns, rest = blank.targets(frames)
    kept = torch.cat([wrap(turns), rest], dim=1)[:: -(-len(frames) // 512)]
    torch.testing.assert_close(blank.left.float(), kept, rtol=1e-3, atol=1e-3)
    noise = torch.randn(3000, blank.noise_size, generator=torch.Generator().manual_seed(0))
    drawn = blank(axes[:1].expand(3000, -1), noise)
    bonds = blank.coordinates.to_internal(drawn)[0]
    moving = blank.scale[: blank.n_bonds] > 5e-4
    torch.testing.assert_close(bonds.std(0)[moving], blank.scale[: blank.n_bonds][moving], rtol=0.15, atol=0)
    apart = [(a[:, 1] - a[:, 18]).norm(dim=1) for a in (drawn, frames)]  # all coordinates of a frame are left together
    torch.testing.assert_close(apart[0].std(), apart[1].std(), rtol=0.15, atol=0)


def test_long_levers_carry_little_of_what_a_linear_readout_leaves(alanine_topology: Any, frames: Tensor) -> None:
    """None of torsions, all of bonds that end a branch, and a part of bonds with more than five atoms behind them."""
    linear = TorsionDecoder(InternalCoordinates.from_topology(alanine_topology), 6, 0)
    linear.fit_statistics(frames)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.zero_()
    linear.fit_residual(torch.zeros(len(frames), 6), frames)
    assert linear.left[:, : linear.n_plain].abs().max() == 0
    every = linear.targets(frames)[1][:: -(-len(frames) // 512)]
    share = (linear.left[:, linear.n_drivers :].float() / every).nanmedian(0).values[: linear.n_bonds]
    parents = linear.coordinates.bond_parent.tolist()
    behind = networkx.DiGraph([(parents[k - 1], k) for k in range(1, 22)])
    carried = torch.tensor([1.0 + len(networkx.descendants(behind, k)) for k in range(1, 22)])
    assert carried.max() > 5
    torch.testing.assert_close(share, (5 / carried).clamp_max(1.0), rtol=2e-2, atol=0)


def test_zero_noise_gives_the_mean_structure_and_thirds_follow_the_noise(decoder: TorsionDecoder) -> None:
    axes = torch.zeros(3, 6)
    noise = torch.zeros(3, decoder.noise_size)
    first = decoder.noise_size - decoder.n_rotors
    noise[:, first] = torch.tensor([-2.0, 0.0, 2.0])  # thirds 0, 1 and 2 of the first rotor
    with torch.no_grad():
        built = decoder(axes, noise)
        plain = decoder.assemble(*decoder.predict(axes))
    thirds = torch.ones(3, decoder.n_rotors, dtype=torch.long)
    thirds[:, 0] = torch.tensor([0, 1, 2])
    torch.testing.assert_close(built, decoder.relabel(plain, thirds))


def test_training_reaches_the_targets(alanine_topology: Any, frames: Tensor) -> None:
    """Axes that hold the torsions' cosines and sines: a linear read-out must find them."""
    linear = TorsionDecoder(InternalCoordinates.from_topology(alanine_topology), 14, 0)
    linear.fit_statistics(frames)
    turns, _ = linear.targets(frames)
    assert turns.shape[1] == linear.n_drivers == 7
    axes = torch.cat([turns.cos(), turns.sin()], dim=1)
    optimizer = torch.optim.Adam(linear.parameters(), 3e-2)
    for _ in range(200):
        optimizer.zero_grad()
        linear.loss(axes, frames).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        predicted, _ = linear.predict(axes)
    assert wrap(predicted - turns).abs().mean() < math.radians(2)


def test_a_linear_readout_is_solved_in_one_step(alanine_topology: Any, frames: Tensor) -> None:
    """The same axes, mixed: the torsions come back, whatever the batch, and noise is no worse than its mean."""
    torch.manual_seed(3)
    solved = [TorsionDecoder(InternalCoordinates.from_topology(alanine_topology), 17, 0) for _ in range(2)]
    for linear in solved:
        linear.fit_statistics(frames)
    turns, rest = solved[0].targets(frames)
    axes = (
        torch.cat([turns.cos(), turns.sin(), torch.randn(len(frames), 3)], dim=1)
        @ torch.linalg.qr(torch.randn(17, 17)).Q
    )
    axes = (axes - axes.mean(0)) / axes.std(0)
    for linear, batch in zip(solved, (50, 10_000), strict=True):
        linear.solve(axes, frames, batch)
    found, others = (linear.predict(axes) for linear in solved)
    torch.testing.assert_close(found, others, rtol=1e-3, atol=1e-4)
    assert wrap(found[0] - turns).abs().mean() < math.radians(2)
    assert (found[1] - rest).square().mean() < 1.02


def test_what_spreads_further_than_bonds_do_counts_by_its_square(decoder: TorsionDecoder, frames: Tensor) -> None:
    """A length between two molecules ten times as wide as 0.03 nm counts a hundredfold, a bond once."""
    made = copy.deepcopy(decoder)
    made.scale[0] = 0.3
    rest = torch.zeros(len(frames), len(made.scale), requires_grad=True)
    directions = torch.zeros(len(frames), made.n_drivers, 2)
    made.read = lambda w: (directions, rest)  # type: ignore[method-assign]
    made.loss(frames, frames).backward()
    assert rest.grad is not None
    weight = -rest.grad / made.targets(frames)[1] * rest.numel() / 2
    np.testing.assert_allclose(weight[:, :2].numpy(), [[100.0, 1.0]] * len(frames), rtol=1e-4)
