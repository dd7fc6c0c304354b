"""Which internal coordinates describe a molecule, and what one pass over its files keeps."""

from __future__ import annotations

import itertools
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.analysis import features
from latentmd.analysis.features import EvaluationError
from latentmd.molecule.checks import structure_template

PDB = Path("systems/molecules/alanine_dipeptide.pdb")


def test_a_dipeptide_has_one_pair_of_backbone_torsions() -> None:
    topology, frame = features.load_topology(PDB)
    spec = features.feature_spec(topology)
    assert spec.kind == "torsions" and spec.names == ("phi ALA2", "psi ALA2") and spec.pairs == ((0, 1),)
    phi = mdtraj.compute_phi(mdtraj.Trajectory(frame, topology), periodic=False)[1][0, 0]
    assert spec.values(frame)[0, 0] == pytest.approx(phi, abs=1e-4)
    coordinates = spec.coordinates(spec.values(frame))
    np.testing.assert_allclose(coordinates[:, :2] ** 2 + coordinates[:, 2:] ** 2, 1, atol=1e-6)


def test_two_molecules_have_distances_between_them_beside_torsions() -> None:
    one = mdtraj.load(str(PDB))
    two = one.stack(mdtraj.Trajectory(one.xyz + np.array([0, 0, 0.9]), one.topology))
    spec = features.feature_spec(two.topology)
    assert spec.names == ("phi ALA2.A", "phi ALA2.B", "psi ALA2.A", "psi ALA2.B") and spec.pairs == ((0, 2), (1, 3))
    values = spec.values(two.xyz)
    assert values.shape == (1, 4 + 9)  # of three residues each
    middle = [k for k, ends in enumerate(spec.between.tolist()) if {two.topology.atom(i).name for i in ends} == {"CA"}]
    assert values[0, 4 + middle[0]] == pytest.approx(0.9, abs=1e-5)
    assert spec.coordinates(values).shape == (1, 2 * 4 + 9)


def test_torsions_of_nucleotides_run_along_bonds() -> None:
    """A purine before a pyrimidine: one chi each, and what lies between them once."""
    topology, before = mdtraj.Topology(), None
    chain, elements = topology.add_chain(), mdtraj.element
    for name, base in (("A", "N9 C4 N1 C2"), ("C", "N1 C2 C4")):
        residue = topology.add_residue(name, chain)
        names = f"P O5' C5' C4' C3' O3' O4' C1' {base}".split()
        atoms = {n: topology.add_atom(n, elements.get_by_symbol(n[0]), residue) for n in names}
        path = ["P", "O5'", "C5'", "C4'", "C3'", "O3'"]
        pairs = [*itertools.pairwise(path), ("C4'", "O4'"), ("O4'", "C1'"), ("C1'", base.split()[0])]
        for one, other in [*pairs, *itertools.pairwise(base.split())]:
            topology.add_bond(atoms[one], atoms[other])
        if before is not None:
            topology.add_bond(before, atoms["P"])
        before = atoms["O3'"]
    spec = features.feature_spec(topology)
    own = "beta gamma delta chi".split()
    expected = [*(f"{n} A0" for n in own), "epsilon A0", "zeta A0", *(f"{n} C1" for n in own), "alpha C1"]
    assert sorted(spec.names) == sorted(expected) and spec.kind == "torsions"
    chi = [topology.atom(int(i)).name for i in spec.indices[spec.names.index("chi C1")]]
    assert chi == ["O4'", "C1'", "N1", "C2"] and not spec.is_backbone(spec.names.index("chi C1"))


def test_a_molecule_without_torsions_has_distances() -> None:
    topology = mdtraj.Topology()
    residue = topology.add_residue("LIG", topology.add_chain())
    atoms = [topology.add_atom(name, mdtraj.element.carbon, residue) for name in "ABCDE"]
    for one, other in itertools.pairwise(atoms):
        topology.add_bond(one, other)
    spec = features.feature_spec(topology)
    assert spec.kind == "distances" and spec.names == ("A-D", "A-E", "B-E")
    assert spec.values(np.arange(15.0).reshape(1, 5, 3))[0, 0] == pytest.approx(np.sqrt(3 * 81))


def test_one_atom_cannot_be_measured() -> None:
    topology = mdtraj.Topology()
    topology.add_atom("A", mdtraj.element.carbon, topology.add_residue("LIG", topology.add_chain()))
    with pytest.raises(EvaluationError, match="1 heavy atoms; expected two or more"):
        features.feature_spec(topology)


def test_a_pass_over_files_counts_every_frame(tmp_path: Path) -> None:
    topology, frame = features.load_topology(PDB)
    frames = frame + np.random.default_rng(0).normal(0, 0.001, (60, *frame.shape[1:]))
    frames[7, 5] += 1.0  # one broken frame
    np.save(tmp_path / "a.npy", frames.astype(np.float32))
    template = structure_template(topology, np.delete(frames, 7, axis=0))
    read = features.read_set([tmp_path / "a.npy"], topology, features.feature_spec(topology), template, interval=2.0)
    assert read.frames == read.totals.frames == 60 and read.interval == 2.0
    assert read.totals.passed["bonds"] <= 59 and read.totals.valid < 60


def test_files_of_different_spacing_are_refused(tmp_path: Path) -> None:
    loaded = mdtraj.load(str(PDB))
    for name, interval in (("a.xtc", 1.0), ("b.xtc", 2.0)):
        times = interval * np.arange(5)
        mdtraj.Trajectory(np.repeat(loaded.xyz, 5, axis=0), loaded.topology, time=times).save_xtc(str(tmp_path / name))
    with pytest.raises(EvaluationError, match=r"a.xtc has a frame every 1 ps and .*b.xtc every 2 ps"):
        files = [tmp_path / "a.xtc", tmp_path / "b.xtc"]
        features.read_set(files, loaded.topology, features.feature_spec(loaded.topology), None)


def test_a_reference_in_pieces_is_refused_and_a_generated_set_is_judged(tmp_path: Path) -> None:
    topology, frame = features.load_topology(PDB)
    frames, spec = np.repeat(frame, 5, axis=0).astype(np.float32), features.feature_spec(topology)
    frames[2, 3:] += 2.0
    mdtraj.Trajectory(frames, topology, np.arange(5.0)).save(str(path := tmp_path / "cut.xtc"))
    with pytest.raises(ValueError, match=r"Frame 2 of .*cut.xtc has a bond of"):
        features.read_set([path], topology, spec, None)
    assert features.read_set([path], topology, spec, structure_template(topology, frame)).totals.valid == 4


def test_an_unreadable_topology_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="does not exist"):
        features.load_topology(tmp_path / "none.pdb")
    (tmp_path / "empty.pdb").touch()
    with pytest.raises(EvaluationError, match="is empty"):
        features.load_topology(tmp_path / "empty.pdb")
