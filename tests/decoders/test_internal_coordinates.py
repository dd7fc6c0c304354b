"""Internal coordinates: round trips, agreement with mdtraj, TorchScript, gradients, odd molecules."""

from __future__ import annotations

from typing import Any

import mdtraj
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.molecule.checks import chiral_quads, signed_volumes, topology_arrays, torsions
from latentmd.molecule.chemistry import Chemistry, chemistry
from latentmd.molecule.geometry import kabsch, wrap


def _volumes(positions: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(signed_volumes(positions.detach().double().numpy(), centres.numpy()))


def stereocentres(topology: Any) -> Tensor:
    return torch.from_numpy(chiral_quads(*topology_arrays(topology)))


def chemistry_of(symbols: str, bonds: list[tuple[int, int]], residues: list[int] | None = None) -> Chemistry:
    n = len(symbols.split())
    return Chemistry(
        symbols=tuple(symbols.split()),
        names=tuple(f"{s}{i}" for i, s in enumerate(symbols.split())),
        residues=("LIG",) * n,
        residue_index=tuple(residues or [0] * n),
        masses=(1.0,) * n,
        bonds=tuple(sorted(bonds)),
        labels=tuple(f"LIG1-{s}{i}" for i, s in enumerate(symbols.split())),
    )


def shaken(positions: Any, frames: int, size: float = 0.005, dtype: torch.dtype = torch.float32) -> Tensor:
    """Copies of a structure with Gaussian displacements in nm."""
    generator = torch.Generator().manual_seed(7)
    x = torch.as_tensor(np.asarray(positions), dtype=dtype)
    return x + size * torch.randn(frames, *x.shape, generator=generator, dtype=dtype)


def deviation(found: Tensor, expected: Tensor) -> float:
    """Largest root-mean-square deviation after superposition, nm."""
    return float((kabsch(found, expected) - expected).square().sum(-1).mean(-1).sqrt().max())


@pytest.fixture(scope="module", params=["alanine", "peptide"])
def molecule(request: pytest.FixtureRequest) -> tuple[Any, np.ndarray]:
    if request.param == "alanine":
        alanine = request.getfixturevalue("alanine")
        return alanine.topology, np.asarray(alanine.positions._value, dtype=np.float32)
    return request.getfixturevalue("peptide")


class RoundTrip(nn.Module):
    def __init__(self, coordinates: InternalCoordinates) -> None:
        super().__init__()
        self.coordinates = coordinates

    def forward(self, x: Tensor) -> Tensor:
        bonds, angles, torsions = self.coordinates.to_internal(x)
        return self.coordinates.to_cartesian(bonds, angles, torsions)


def test_round_trip(molecule: tuple[Any, np.ndarray]) -> None:
    topology, positions = molecule
    coordinates = InternalCoordinates.from_topology(topology)
    x = shaken(positions, 64)
    bonds, angles, torsions = coordinates.to_internal(x)
    n = len(positions)
    assert (bonds.shape, angles.shape, torsions.shape) == ((64, n - 1), (64, n - 2), (64, n - 3))
    back = coordinates.to_cartesian(bonds, angles, torsions)
    assert deviation(back, x) < 1e-5
    assert torch.allclose(back.mean(1), torch.zeros(64, 3), atol=1e-5)
    again = coordinates.to_internal(back)
    assert float((again[0] - bonds).abs().max()) < 1e-5
    assert float((again[1] - angles).abs().max()) < 1e-3
    assert float(wrap(again[2] - torsions).abs().max()) < 2e-3


def test_any_real_torsion_is_accepted(alanine: Any) -> None:
    coordinates = InternalCoordinates.from_topology(alanine.topology)
    bonds, angles, torsions = coordinates.to_internal(shaken(alanine.positions._value, 8))
    turned = coordinates.to_cartesian(bonds, angles, torsions + 4 * torch.pi)
    assert deviation(turned, coordinates.to_cartesian(bonds, angles, torsions)) < 1e-5


def test_scripted_equals_eager(molecule: tuple[Any, np.ndarray]) -> None:
    topology, positions = molecule
    trip = RoundTrip(InternalCoordinates.from_topology(topology))
    with pytest.warns(DeprecationWarning):
        scripted = torch.jit.script(trip)
    for frames in (1, 5):
        x = shaken(positions, frames)
        assert torch.allclose(scripted(x), trip(x), atol=1e-6)


def test_batch_equals_single(molecule: tuple[Any, np.ndarray]) -> None:
    topology, positions = molecule
    trip, x = RoundTrip(InternalCoordinates.from_topology(topology)), shaken(positions, 4)
    assert torch.allclose(trip(x), torch.cat([trip(x[k : k + 1]) for k in range(4)]), atol=1e-6)


def test_internal_coordinates_ignore_rotation_and_translation(alanine: Any) -> None:
    coordinates = InternalCoordinates.from_topology(alanine.topology)
    x = shaken(alanine.positions._value, 4, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    rotation = rotation * torch.linalg.det(rotation)
    for moved, still in zip(coordinates.to_internal(x @ rotation + 3.0), coordinates.to_internal(x), strict=True):
        assert float(wrap(moved - still).abs().max()) < 1e-9
    bonds, angles, torsions = coordinates.to_internal(x)
    mirrored = coordinates.to_internal(-x)
    assert torch.allclose(mirrored[0], bonds)
    assert torch.allclose(mirrored[1], angles)
    assert float(wrap(mirrored[2] + torsions).abs().max()) < 1e-9


def test_gradients(alanine: Any) -> None:
    coordinates = InternalCoordinates.from_topology(alanine.topology).double()
    x = shaken(alanine.positions._value, 1, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: coordinates.to_internal(y), (x,), atol=1e-4)
    inputs = tuple(v.detach().requires_grad_() for v in coordinates.to_internal(x))
    assert torch.autograd.gradcheck(lambda b, a, t: coordinates.to_cartesian(b, a, t), inputs, atol=1e-4)


def test_chirality_survives_other_torsions(molecule: tuple[Any, np.ndarray]) -> None:
    topology, positions = molecule
    coordinates, centres = InternalCoordinates.from_topology(topology), stereocentres(topology)
    x = shaken(positions, 16)
    bonds, angles, torsions = coordinates.to_internal(x)
    turned = torsions.clone()
    turns = torch.rand(16, coordinates.n_drivers, generator=torch.Generator().manual_seed(2))
    # Ring torsions are left: turning one of them breaks the closing bond, and with it the atoms around it.
    free = ring_free(coordinates, topology)
    turned[:, coordinates.driver_index[free]] += 2 * torch.pi * turns[:, free]
    before = _volumes(x, centres)
    after = _volumes(coordinates.to_cartesian(bonds, angles, turned), centres)
    assert torch.allclose(after, before, atol=1e-4)
    assert torch.equal(torch.sign(_volumes(x * torch.tensor([1.0, 1.0, -1.0]), centres)), -torch.sign(before))


def ring_free(coordinates: InternalCoordinates, topology: Any) -> Tensor:
    """Which drivers move no atom of a ring: their parent is not in one."""
    record, around = chemistry(topology), chemistry(topology).neighbours()

    def in_ring(i: int) -> bool:
        for first in around[i]:
            seen, stack = {i, first}, [first]
            while stack:
                j = stack.pop()
                for k in around[j]:
                    if k == i and j != first:
                        return True
                    if k not in seen:
                        seen.add(k)
                        stack.append(k)
        return False

    rings = torch.tensor([in_ring(i) for i in range(record.n_atoms)])
    parents = coordinates.order[coordinates.bond_parent[coordinates.driver_index + 2]]
    return ~rings[parents] & ~rings[coordinates.driver]


def test_named_torsions_are_drivers(molecule: tuple[Any, np.ndarray]) -> None:
    """phi, psi and chi1 as mdtraj computes them appear among the driver torsions."""
    topology, positions = molecule
    coordinates = InternalCoordinates.from_topology(topology)
    x = shaken(positions, 8)
    frames = mdtraj.Trajectory(x.numpy(), mdtraj.Topology.from_openmm(topology))
    drivers = coordinates.to_internal(x)[2][:, coordinates.driver_index]
    for compute in (mdtraj.compute_phi, mdtraj.compute_psi, mdtraj.compute_chi1):
        quads, values = compute(frames)
        assert np.allclose(torsions(x.numpy(), quads), values, atol=1e-4)
        for k, quad in enumerate(quads):
            names = [frames.topology.atom(int(i)) for i in quad]
            if names[0].residue.name == "PRO" and names[1].residue.name == "PRO" and compute is not mdtraj.compute_psi:
                continue  # inside the proline ring the spanning tree may go the other way round
            error = wrap(drivers - torch.from_numpy(values[:, k : k + 1])).abs().amax(0).min()
            assert float(error) < 1e-3, names


def test_rotors(alanine: Any, peptide: tuple[Any, np.ndarray]) -> None:
    coordinates = InternalCoordinates.from_topology(alanine.topology)
    names = [[coordinates.names[i] for i in rotor] for rotor in coordinates.rotor_hydrogens.tolist()]
    assert sorted(names) == [
        ["ACE1-H1", "ACE1-H2", "ACE1-H3"], ["ALA2-HB1", "ALA2-HB2", "ALA2-HB3"], ["NME3-H1", "NME3-H2", "NME3-H3"]
    ]  # fmt: skip
    assert torch.equal(coordinates.driver[coordinates.driver_kind == 3], coordinates.rotor_hydrogens[:, 0])
    assert coordinates.n_drivers == 7
    assert sorted([*coordinates.driver_index.tolist(), *coordinates.offset_index.tolist()]) == list(range(19))
    ammonium = InternalCoordinates.from_topology(peptide[0])
    firsts = {ammonium.names[i].split("-")[0] for i in ammonium.rotor_hydrogens[:, 0].tolist()}
    assert firsts == {"GLY1", "ILE5", "LYS6", "VAL9"}


def test_rotor_direction(alanine: Any) -> None:
    coordinates = InternalCoordinates.from_topology(alanine.topology)
    x = torch.as_tensor(np.asarray(alanine.positions._value), dtype=torch.float32).unsqueeze(0)
    coordinates.orient_rotors(x)
    before = coordinates.rotor_direction.clone()
    second, third = coordinates.rotor_hydrogens[0, 1:].tolist()
    swapped = x.clone()
    swapped[:, [second, third]] = x[:, [third, second]]
    coordinates.orient_rotors(swapped)
    assert coordinates.rotor_direction.tolist() == [-int(before[0]), *before[1:].tolist()]


def test_disconnected_parts_and_rings() -> None:
    """Cyclopropane-like ring with two loose waters and an ion: four parts, one with a ring."""
    bonds = [(0, 1), (1, 2), (0, 2), (0, 3), (4, 5), (4, 6), (7, 8), (7, 9)]
    record = chemistry_of("C C C Cl O H H O H H Na", bonds, [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3])
    coordinates = InternalCoordinates.from_topology(record)
    x = torch.rand(32, 11, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert deviation(coordinates.to_cartesian(*coordinates.to_internal(x)), x) < 1e-6


@pytest.mark.parametrize(
    "symbols, bonds", [("O H H Na", [(0, 1), (0, 2)]), ("Na Cl Na Cl", []), ("C N Cl Cl", [(0, 1)])]
)
def test_smallest_molecules(symbols: str, bonds: list[tuple[int, int]]) -> None:
    coordinates = InternalCoordinates.from_topology(chemistry_of(symbols, bonds))
    x = torch.rand(8, 4, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert deviation(coordinates.to_cartesian(*coordinates.to_internal(x)), x) < 1e-6


def test_disulfide(peptide: tuple[Any, np.ndarray]) -> None:
    """A bond between far atoms closes a ring: one bond of it stays out of the tree, and positions still come back."""
    record = chemistry(peptide[0])
    first, last = record.names.index("CB"), len(record.names) - 1 - record.names[::-1].index("CB")
    bonds = tuple(sorted((*record.bonds, (first, last))))
    closed = Chemistry(**{**record.__dict__, "bonds": bonds})
    coordinates, x = InternalCoordinates.from_topology(closed), shaken(peptide[1], 4)
    assert deviation(coordinates.to_cartesian(*coordinates.to_internal(x)), x) < 1e-5


def test_too_few_atoms() -> None:
    with pytest.raises(ValueError, match="at least 4 atoms, found 3"):
        InternalCoordinates.from_topology(chemistry_of("O H H", [(0, 1), (0, 2)]))


def test_kabsch_undoes_a_rotation_and_never_mirrors() -> None:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(6, 10, 3, generator=generator)
    rotation = torch.linalg.qr(torch.randn(6, 3, 3, generator=generator))[0]
    rotation = rotation * torch.linalg.det(rotation).reshape(-1, 1, 1)
    moved = x @ rotation + torch.randn(6, 1, 3, generator=generator)
    assert torch.allclose(kabsch(moved, x), x, atol=1e-5)
    assert float((kabsch(-x, x) - x).abs().max()) > 0.1
    heavy = torch.zeros(10)
    heavy[:4] = 1
    broken = moved.clone()
    broken[:, 4:] += torch.randn(6, 6, 3, generator=generator)
    assert torch.allclose(kabsch(broken, x, heavy)[:, :4], x[:, :4], atol=1e-5)
    with pytest.warns(DeprecationWarning):
        scripted = torch.jit.script(kabsch)
    assert torch.equal(scripted(moved, x[:1], None), kabsch(moved, x[:1]))


def test_stereocentres(alanine: Any, peptide: tuple[Any, np.ndarray]) -> None:
    names = chemistry(alanine.topology).labels
    centres = stereocentres(alanine.topology)
    assert [[names[i] for i in row] for row in centres.tolist()] == [["ALA2-CA", "ALA2-N", "ALA2-C", "ALA2-CB"]]
    labels = chemistry(peptide[0]).labels
    found = {labels[i] for i in stereocentres(peptide[0])[:, 0].tolist()}
    assert found == {f"{r}-CA" for r in "TYR2 ASP3 PRO4 ILE5 LYS6 TRP7 HIS8 VAL9".split()} | {"ILE5-CB"}
    volumes = _volumes(torch.from_numpy(peptide[1][None]), stereocentres(peptide[0]))
    alpha = [k for k, i in enumerate(stereocentres(peptide[0])[:, 0].tolist()) if labels[i].endswith("-CA")]
    assert len({float(torch.sign(volumes[0, k])) for k in alpha}) == 1
