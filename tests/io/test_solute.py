"""The solute of a simulation: chosen, cut out of files, and refused in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.io.pdb import pdb_text
from latentmd.io.solute import find_solute, read_solute, solute_or_all, solute_positions, solute_reader
from latentmd.io.trajectory_file import TrajectoryError

CHIGNOLIN = Path(__file__).parents[2] / "systems" / "molecules" / "chignolin.pdb"


def in_water(solute: mdtraj.Trajectory, waters: int = 4, frames: int = 6) -> mdtraj.Trajectory:
    """Frames of a solute between waters and an ion in a box, the solute moved so that a face of the box cuts it."""
    topology = solute.topology.copy()
    chain = topology.add_chain()
    hydrogen, oxygen = mdtraj.element.hydrogen, mdtraj.element.oxygen
    for _ in range(waters):
        water = topology.add_residue("HOH", chain)
        o, *h = (topology.add_atom(name, e, water) for name, e in (("O", oxygen), ("H1", hydrogen), ("H2", hydrogen)))
        for atom in h:
            topology.add_bond(o, atom)
    topology.add_atom("NA", mdtraj.element.sodium, topology.add_residue("NA", chain))
    shape = np.array([[0.0, 0.0, 0.0], [0.0957, 0.0, 0.0], [-0.024, 0.0927, 0.0]])
    rest = np.concatenate([*(shape + np.array([0.3 * k, 2.0, 2.0]) for k in range(waters)), np.full((1, 3), 2.5)])
    xyz = np.repeat(np.concatenate([solute.xyz[0], rest])[None], frames, axis=0).astype(np.float32)
    cell = np.full((frames, 3), 4.0)
    made = mdtraj.Trajectory(xyz % 4.0, topology, 1.0 * np.arange(frames), cell, np.full((frames, 3), 90.0))
    return made


@pytest.fixture(scope="module")
def dipeptide() -> mdtraj.Trajectory:
    return mdtraj.load(str(CHIGNOLIN.with_name("alanine_dipeptide.pdb")))


@pytest.fixture(scope="module")
def wet(dipeptide: mdtraj.Trajectory) -> mdtraj.Trajectory:
    return in_water(dipeptide)


def test_water_and_ions_are_left_out(dipeptide: mdtraj.Trajectory, wet: mdtraj.Trajectory) -> None:
    found = find_solute(wet.topology)
    assert found.atoms.tolist() == list(range(22)) and found.water
    assert found.left_out == "4 HOH, 1 NA"
    assert found.topology.n_bonds == dipeptide.topology.n_bonds


@pytest.mark.parametrize("suffix", ["xtc", "dcd"])
def test_positions_of_the_solute_are_whole(
    dipeptide: mdtraj.Trajectory, wet: mdtraj.Trajectory, tmp_path: Path, suffix: str
) -> None:
    wet[0].save(str(tmp_path / "top.pdb"))
    wet.save(str(path := tmp_path / f"run.{suffix}"))
    topology, solute = read_solute(tmp_path / "top.pdb", [path])
    runs, interval = solute_positions([path], topology, solute, None if suffix == "xtc" else 1.0)
    assert runs[0].shape == (6, 22, 3) and interval == pytest.approx(1.0)
    moved = runs[0] - runs[0].mean(axis=1, keepdims=True)
    own = dipeptide.xyz[0] - dipeptide.xyz[0].mean(axis=0)
    np.testing.assert_allclose(moved, np.repeat(own[None], 6, axis=0), atol=2e-3)
    assert (runs[0].max(axis=(0, 1)) > 4.0 - 1e-3).any() or (runs[0].min(axis=(0, 1)) < 1e-3).any(), "was not cut"


def test_files_of_the_solute_alone_are_read_beside_those_of_the_whole(
    dipeptide: mdtraj.Trajectory, wet: mdtraj.Trajectory, tmp_path: Path
) -> None:
    solute = find_solute(wet.topology)
    wet.save(str(tmp_path / "wet.xtc"))
    wet.atom_slice(range(22)).save(str(tmp_path / "dry.xtc"))
    for name in ("wet.xtc", "dry.xtc"):
        reader, atoms = solute_reader(tmp_path / name, wet.topology, solute)
        assert next(iter(reader)).positions[:, atoms].shape == (6, 22, 3)
    with pytest.raises(TrajectoryError, match="atoms"):
        wet.atom_slice(range(21)).save(str(tmp_path / "other.xtc"))
        solute_reader(tmp_path / "other.xtc", wet.topology, solute)


def test_bonds_of_unknown_residues_are_told_from_distances(dipeptide: mdtraj.Trajectory) -> None:
    bare = mdtraj.Topology()
    chain = bare.add_chain()
    residue = bare.add_residue("LIG", chain)
    for atom in dipeptide.topology.atoms:
        bare.add_atom(atom.name, atom.element, residue)
    with pytest.raises(TrajectoryError, match="names no bonds of LIG0"):
        find_solute(bare)
    found = find_solute(bare, frame=dipeptide.xyz[0].astype(np.float64))
    bonds = {(a.index, b.index) for a, b in found.topology.bonds}
    expected = {(a.index, b.index) for a, b in dipeptide.topology.bonds}
    assert {tuple(sorted(b)) for b in bonds} == {tuple(sorted(b)) for b in expected}
    assert bare.n_bonds == len(expected), "readers of the whole need them too"


def several(molecule: mdtraj.Trajectory, shifts: Sequence[Sequence[float]]) -> mdtraj.Trajectory:
    """Copies of a molecule, moved by vectors in nm."""
    made = molecule
    for shift in shifts:
        made = made.stack(mdtraj.Trajectory(molecule.xyz + np.array(shift), molecule.topology))
    return made


@pytest.fixture
def pair(dipeptide: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """A dipeptide and another one 0.8 nm away."""
    return several(dipeptide, [(0.0, 0.0, 0.8)])


def test_two_molecules_are_one_solute_or_one_of_them_is_selected(pair: mdtraj.Trajectory) -> None:
    found = find_solute(pair.topology)
    assert [molecule.tolist() for molecule in found.molecules] == [list(range(22)), list(range(22, 44))]
    assert find_solute(pair.topology, "resid 0 to 2").left_out == "1 ACE, 1 ALA, 1 NME"
    assert len(solute_or_all(pair.topology, pair.xyz[0]).molecules) == 2
    assert len(solute_or_all(pair.topology, pair.xyz[0], "resid 3 to 5").atoms) == 22


def test_many_molecules_are_refused_with_a_selection_that_works(dipeptide: mdtraj.Trajectory) -> None:
    four = several(dipeptide, [(1.0, 0.0, 0.0), (2.0, 0.0, 0.0), (3.0, 0.0, 0.0)])
    with pytest.raises(TrajectoryError, match=r"4 molecules beside water .* --select \"resid 0 to 2\""):
        find_solute(four.topology)
    assert len(find_solute(four.topology, "resid 0 to 8").molecules) == 3


@pytest.mark.parametrize("angles", [(90.0, 90.0, 90.0), (60.0, 60.0, 90.0)])
@pytest.mark.parametrize("copies", [1, 2])
def test_molecules_are_at_their_nearest_images(
    dipeptide: mdtraj.Trajectory, tmp_path: Path, copies: int, angles: tuple[float, float, float]
) -> None:
    whole = several(dipeptide, [(0.0, 0.0, 0.8), (0.0, 0.9, 0.0)][:copies])
    frames, rng = 40, np.random.default_rng(0)
    xyz = np.repeat(whole.xyz, frames, axis=0).astype(np.float64) + rng.uniform(-9, 9, (frames, 1, 3))
    boxed = mdtraj.Trajectory(xyz, whole.topology, np.arange(frames), np.full((frames, 3), 4.0), [angles] * frames)
    for k in range(copies + 1):  # each in an image of its own, and some of them cut
        boxed.xyz[:, 22 * k : 22 * (k + 1)] += np.einsum(
            "fi,fij->fj", rng.integers(-2, 3, (frames, 3)), boxed.unitcell_vectors
        )[:, None]
    if angles[0] == 90.0:
        boxed.xyz[::2] %= 4.0
    boxed.save(str(path := tmp_path / "run.xtc"))
    whole.save(str(tmp_path / "top.pdb"))
    topology, solute = read_solute(tmp_path / "top.pdb", [path])
    runs, _ = solute_positions([path], topology, solute)
    apart = np.linalg.norm(runs[0][:, :, None] - runs[0][:, None], axis=-1)
    expected = np.linalg.norm(whole.xyz[0][:, None] - whole.xyz[0][None], axis=-1)
    np.testing.assert_allclose(apart, np.repeat(expected[None], frames, axis=0), atol=6e-3)


def test_molecules_that_diffuse_apart_are_refused(pair: mdtraj.Trajectory, tmp_path: Path) -> None:
    xyz = np.repeat(pair.xyz, 10, axis=0)
    xyz[3:, 22:] += 2.0
    mdtraj.Trajectory(xyz, pair.topology, np.arange(10.0)).save(str(path := tmp_path / "run.xtc"))
    expected = r"ACE-ALA-NME \(22 atoms\) and .* more than 1 nm apart in 70 % .* --select \"resid 0 to 2\""
    with pytest.raises(TrajectoryError, match=expected):
        solute_positions([path], pair.topology, find_solute(pair.topology))


def test_chains_that_a_file_joins_are_two_molecules(tmp_path: Path) -> None:
    chain = mdtraj.load(str(CHIGNOLIN.with_name("met_enkephalin.pdb")))
    two = several(chain, [(0.0, 0.0, 1.2)])
    two.save(str(tmp_path / "two.gro"))  # which knows no chains
    assert mdtraj.load_topology(str(tmp_path / "two.gro")).n_bonds == 2 * chain.topology.n_bonds + 1
    _, solute = read_solute(tmp_path / "two.gro", [])
    assert len(solute.molecules) == 2 and solute.topology.n_chains == 2
    (tmp_path / "kept.pdb").write_text(pdb_text(solute.topology.to_openmm(), two.xyz[0]))
    assert mdtraj.load_topology(str(tmp_path / "kept.pdb")).n_bonds == 2 * chain.topology.n_bonds


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("resname LIG", "finds no atoms"),
        ("no such (", "is no selection"),
        ("water", "4 molecules beside"),
        ("name CA", r'takes 1 of the 5 heavy atoms of ALA2; .* as in "resid 1 to 1"'),
    ],
)
def test_selections_that_do_not_do(wet: mdtraj.Trajectory, select: str, message: str) -> None:
    with pytest.raises(TrajectoryError, match=message):
        find_solute(wet.topology, select)


def test_waters_of_four_points_are_left_out_too(dipeptide: mdtraj.Trajectory, tmp_path: Path) -> None:
    topology = dipeptide.topology.copy()
    water = topology.add_residue("HOH", topology.add_chain(), resSeq=9)
    o, h1, h2 = (topology.add_atom(n, mdtraj.element.get_by_symbol(n[0]), water) for n in ("OW", "HW1", "HW2"))
    topology.add_bond(o, h1)
    topology.add_bond(o, h2)
    topology.add_atom("MW", mdtraj.element.virtual, water)
    far = np.array([[2.0, 2.0, 2.0], [2.0957, 2.0, 2.0], [1.976, 2.0927, 2.0], [2.01, 2.01, 2.0]])
    wet = mdtraj.Trajectory(
        np.concatenate([dipeptide.xyz, far[None]], axis=1).repeat(3, axis=0), topology, np.arange(3.0)
    )
    wet.save(str(path := tmp_path / "run.xtc"))
    runs, _ = solute_positions([path], topology, find_solute(topology))
    assert runs[0].shape == (3, 22, 3)


def test_water_alone_is_refused(wet: mdtraj.Trajectory) -> None:
    with pytest.raises(TrajectoryError, match=r"nothing but water and ions .* 4 HOH, 1 NA"):
        find_solute(wet.atom_slice(range(22, wet.n_atoms)).topology)


@pytest.mark.parametrize("suffix", ["pdb", "gro"])
def test_nucleotides_are_joined(tmp_path: Path, suffix: str) -> None:
    """Neither are the elements of atoms such as O5' in a GRO file, nor the bonds between nucleotides in templates."""
    chain = mdtraj.load(str(Path(__file__).with_name("nucleotides.pdb")))
    chain.save(str(path := tmp_path / f"nucleotides.{suffix}"))
    _, solute = read_solute(path, [])
    assert not solute.molecules and solute.topology.n_atoms == chain.n_atoms
    names = [{a.name, b.name} for a, b in solute.topology.bonds if a.residue is not b.residue]
    assert names == 3 * [{"O3'", "P"}]
    assert solute.topology.n_bonds == chain.n_atoms - 1 + 10  # rings: four of sugars, six of bases
