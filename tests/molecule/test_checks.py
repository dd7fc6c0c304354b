"""Structure metrics against a peptide built at known angles."""

from __future__ import annotations

import mdtraj
import networkx
import numpy as np
import pytest

from latentmd.molecule import checks as module
from latentmd.molecule import checks as structure
from latentmd.molecule.checks import CLASH_DISTANCE, HYDROGEN_CLASH, Contacts
from latentmd.systems.peptide import backbone, pdb_block


@pytest.fixture
def built_peptide(tmp_path):
    """ACE-ALA-ALA-NME heavy atoms at phi -65, psi 135 degrees: topology and one frame (1, atoms, 3) in nm."""
    path = tmp_path / "peptide.pdb"
    path.write_text(pdb_block(backbone(["ACE", "ALA", "ALA", "NME"], phi=-65.0, psi=135.0)))
    loaded = mdtraj.load(str(path), standard_names=False)
    atoms = np.array([xyz for _, _, xyz in backbone(["ACE", "ALA", "ALA", "NME"], phi=-65.0, psi=135.0)])
    return loaded.topology, atoms[None]


@pytest.fixture
def dipeptide():
    loaded = mdtraj.load("systems/molecules/alanine_dipeptide.pdb")
    return loaded.topology, loaded.xyz.astype(float)


def _quads(topology, names):
    index = {(a.residue.index, a.name): a.index for a in topology.atoms}
    return np.array([[index[key] for key in quad] for quad in names])


def test_torsions_are_those_the_peptide_was_built_with(built_peptide):
    topology, frames = built_peptide
    quads = _quads(
        topology,
        [[(0, "C"), (1, "N"), (1, "CA"), (1, "C")], [(1, "N"), (1, "CA"), (1, "C"), (2, "N")]],
    )
    angles = np.rad2deg(structure.torsions(frames, quads))[0]
    np.testing.assert_allclose(angles, [-65.0, 135.0], atol=1e-6)
    reference = mdtraj.compute_dihedrals(mdtraj.Trajectory(frames, topology), quads)
    np.testing.assert_allclose(np.rad2deg(reference)[0], angles, atol=1e-3)


def test_bonds_and_angles_are_those_the_peptide_was_built_with(built_peptide):
    topology, frames = built_peptide
    quad = _quads(topology, [[(1, "N"), (1, "CA"), (1, "C"), (1, "CB")]])[0]
    assert structure.bond_lengths(frames, quad[None, :2])[0, 0] == pytest.approx(0.1458, abs=1e-12)
    assert structure.bond_angles(frames, quad[None, :3])[0, 0] == pytest.approx(np.deg2rad(111.0), abs=1e-9)


def test_heavy_atom_peptide_has_a_stereocentre_per_alanine(built_peptide):
    topology, frames = built_peptide
    symbols, bonds = structure.topology_arrays(topology)
    centres = structure.chiral_quads(symbols, bonds, frames[0])
    assert [topology.atom(int(c[0])).name for c in centres] == ["CA", "CA"]
    template = structure.structure_template(topology, frames)
    assert structure.frame_scores(frames, template).chirality.all()
    assert not structure.frame_scores(frames * [1, 1, -1], template).chirality.any()


def test_only_the_alpha_carbon_of_alanine_dipeptide_is_a_stereocentre(dipeptide):
    topology, frames = dipeptide
    symbols, bonds = structure.topology_arrays(topology)
    assert [topology.atom(int(c[0])).name for c in structure.chiral_quads(symbols, bonds)] == ["CA"]
    assert abs(structure.signed_volumes(frames, structure.chiral_quads(symbols, bonds))[0, 0]) > 0.6


def test_openmm_and_mdtraj_topologies_give_one_template(dipeptide):
    from openmm.app import PDBFile

    topology, frames = dipeptide
    ours = structure.structure_template(topology, frames)
    theirs = structure.structure_template(PDBFile("systems/molecules/alanine_dipeptide.pdb").topology, frames)
    assert ours.symbols == theirs.symbols
    assert {tuple(sorted(b)) for b in ours.bonds} == {tuple(sorted(b)) for b in theirs.bonds}


def _failed(frame, template):
    return [name for name, passed in structure.check_frames(frame[None], template).items() if not passed[0]]


def _turned(frame, axis, atoms, degrees):
    """A frame with atoms turned about the line between two others."""
    from scipy.spatial.transform import Rotation

    origin, along = frame[axis[0]], frame[axis[1]] - frame[axis[0]]
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * along / np.linalg.norm(along))
    turned = frame.copy()
    turned[atoms] = origin + turn.apply(frame[atoms] - origin)
    return turned


def test_each_check_fails_the_frame_that_is_wrong_and_no_other(dipeptide):
    topology, frames = dipeptide
    template, index = structure.structure_template(topology, frames), {str(a): a.index for a in topology.atoms}
    frame = frames[0]
    assert _failed(frame, template) == []
    stretched, bent, broken = frame.copy(), frame.copy(), frame.copy()
    oxygen, carbon = index["ACE1-O"], index["ACE1-C"]
    stretched[oxygen] += 0.4 * (frame[oxygen] - frame[carbon])
    assert _failed(stretched, template) == ["bonds"]
    methyl = [index[f"ACE1-{name}"] for name in ("H1", "H2", "H3")]
    axis = np.cross(frame[carbon] - frame[index["ACE1-CH3"]], [0.3, 0.5, 0.8]) + frame[index["ACE1-CH3"]]
    bent = _turned(np.vstack([frame, axis]), (index["ACE1-CH3"], len(frame)), methyl, 45.0)[:-1]
    assert "angles" in _failed(bent, template) and "bonds" not in _failed(bent, template)
    assert _failed(frame * [1, 1, -1], template) == ["chirality"]
    after = [a.index for a in topology.atoms if a.residue.name == "NME" and a.name != "N"]
    cis = _turned(frame, (index["ALA2-C"], index["NME3-N"]), after, 180.0)
    assert _failed(cis, template) == ["isomer"]
    assert _failed(_turned(frame, (index["ALA2-C"], index["NME3-N"]), after, 20.0), template) == []
    broken[3] = np.nan
    assert _failed(broken, template) == [*structure.check_frames(frames, template)]


def test_hydrogens_on_top_of_each_other_clash(dipeptide):
    """Nothing but a hydrogen of each end moves: the bonds that stretch fail, and the clash is seen too."""
    topology, frames = dipeptide
    template, index = structure.structure_template(topology, frames), {str(a): a.index for a in topology.atoms}
    first, last = index["ACE1-H1"], index["NME3-H1"]
    for distance, sound in ((0.04, False), (0.129, False), (0.131, True)):
        near = frames.copy()
        direction = frames[0, last] - frames[0, index["NME3-C"]]
        near[0, first] = frames[0, last] + distance * direction / np.linalg.norm(direction)
        assert structure.check_frames(near, template)["clashes"].tolist() == [sound]


def test_an_open_ring_fails_as_a_bond():
    loaded = mdtraj.load("systems/molecules/chignolin.pdb")
    template = structure.structure_template(loaded.topology, loaded.xyz)
    proline = {a.name: a.index for a in loaded.topology.atoms if a.residue.name == "PRO"}
    open_ring = loaded.xyz[0].astype(float)
    open_ring[proline["CD"]] += 0.06 * (open_ring[proline["CD"]] - open_ring[proline["N"]]) / 0.147
    assert "bonds" not in _failed(loaded.xyz[0].astype(float), template)
    assert "bonds" in _failed(open_ring, template)


def test_an_isomer_that_the_reference_shows_both_ways_is_not_checked(dipeptide):
    topology, frames = dipeptide
    after = [a.index for a in topology.atoms if a.residue.name == "NME" and a.name != "N"]
    index = {str(a): a.index for a in topology.atoms}
    cis = _turned(frames[0], (index["ALA2-C"], index["NME3-N"]), after, 180.0)
    both = structure.structure_template(topology, np.stack([frames[0], cis]))
    assert structure.frame_scores(np.stack([frames[0], cis]), both).isomer.all()


def test_z_scores_of_normal_samples_have_unit_deviation(dipeptide):
    topology, frames = dipeptide
    rng = np.random.default_rng(1)
    noisy = frames + rng.normal(0, 0.004, (4000, *frames.shape[1:]))
    template = structure.structure_template(topology, noisy[:2000])
    scores = structure.frame_scores(noisy[2000:], template)
    lengths = structure.bond_lengths(noisy[2000:], template.bonds)
    np.testing.assert_allclose(scores.bond_z, (lengths - template.bond_mean) / template.bond_deviation, atol=1e-9)
    angles = structure.bond_angles(noisy[2000:], template.angles)
    np.testing.assert_allclose(scores.angle_z, (angles - template.angle_mean) / template.angle_deviation, atol=1e-9)
    np.testing.assert_allclose(scores.bond_z.std(axis=0), 1.0, atol=0.06)
    np.testing.assert_allclose(scores.angle_z.mean(axis=0), 0.0, atol=0.12)


def test_rmsd_ignores_rotation_but_not_reflection(dipeptide):
    _, frames = dipeptide
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert structure.aligned_rmsd(frames @ turn.T + 3.0, frames)[0] < 1e-6
    assert structure.aligned_rmsd(frames * [1, 1, -1], frames)[0] > 0.02
    shifted = frames + np.random.default_rng(2).normal(0, 0.01, frames.shape)
    expected = mdtraj.rmsd(mdtraj.Trajectory(shifted, None), mdtraj.Trajectory(frames, None))
    np.testing.assert_allclose(structure.aligned_rmsd(shifted, frames), expected, atol=1e-5)


def test_template_refuses_other_atoms_and_nan(dipeptide):
    topology, frames = dipeptide
    with pytest.raises(ValueError, match="21 atoms, the topology 22"):
        structure.structure_template(topology, frames[:, 1:])
    with pytest.raises(ValueError, match="NaN"):
        structure.structure_template(topology, frames * np.nan)


def _chain(symbols: str) -> Contacts:
    return Contacts.of(symbols, np.array([(i, i + 1) for i in range(len(symbols) - 1)]))


def _line(symbols: str, apart: dict[int, float]) -> np.ndarray:
    """A chain whose atoms are 1 nm from each other, but for some, that are near the first."""
    x = np.arange(len(symbols))[:, None] * np.array([1.0, 0, 0])
    for atom, distance in apart.items():
        x[atom] = [0.0, distance, 0.0]
    return x[None]


def test_pairs_of_hydrogens_count_beyond_three_bonds_and_heavy_ones_beyond_two() -> None:
    for symbols, atom, distance, clashes in (
        ("HCCCH", 4, 0.04, 1), ("HCCCH", 4, HYDROGEN_CLASH + 1e-6, 0), ("HCCH", 3, 0.04, 0),
        ("HCCCO", 4, HYDROGEN_CLASH - 1e-6, 1), ("CCCC", 3, CLASH_DISTANCE - 1e-6, 1), ("CCCC", 3, 0.21, 0),
        ("CCC", 2, 0.04, 0), ("DCCCD", 4, 0.04, 1),
    ):  # fmt: skip
        assert _chain(symbols).clashes(_line(symbols, {atom: distance})).tolist() == [clashes], symbols


def test_virtual_sites_may_be_anywhere() -> None:
    made = Contacts.of(["O", "VS", "C"], np.zeros((0, 2), dtype=np.int64))
    assert made.clashes(np.zeros((1, 3, 3))).tolist() == [1]


def test_all_pairs_and_tree_agree_with_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    count = 60
    symbols = rng.choice(["C", "H", "O"], count).tolist()
    graph = networkx.gnm_random_graph(count, 70, seed=1)
    made = Contacts.of(symbols, np.array(graph.edges))
    frames = rng.uniform(0, 0.9, (3, count, 3))
    steps = dict(networkx.all_pairs_shortest_path_length(graph))

    def clash(x: np.ndarray, i: int, j: int) -> bool:
        heavy = "H" not in (symbols[i], symbols[j])
        apart = steps[i].get(j, count) > (2 if heavy else 3)
        return apart and float(np.linalg.norm(x[i] - x[j])) < (CLASH_DISTANCE if heavy else HYDROGEN_CLASH)

    expected = [sum(clash(x, i, j) for i in range(count) for j in range(i + 1, count)) for x in frames]
    assert min(expected) > 0
    assert made.clashes(frames).tolist() == expected
    monkeypatch.setattr(module, "_BRUTE_FORCE_ATOMS", 10)
    assert made.clashes(frames).tolist() == expected


def test_contacts_of_data_are_those_of_their_kinds() -> None:
    """A hydrogen of oxygen may come nearer to oxygen than one of carbon; three bonds hold atoms, and more do not."""
    symbols, bonds = ["O", "H", "C", "C", "C", "H"], np.array([(0, 1), (0, 2), (2, 3), (3, 4), (4, 5)])
    assert module.atom_kinds(symbols, bonds).tolist() == [3, 2, 0, 0, 0, 1]
    nearest = np.full((4, 4), 0.3)
    nearest[2, 3] = nearest[3, 2] = 0.15
    nearest[0, 0] = 0.0  # no data
    made = Contacts.seen(symbols, bonds, nearest)
    first, second, limits = made.pairs
    found = dict(zip(zip(first.tolist(), second.tolist(), strict=True), np.sqrt(limits), strict=True))
    assert found == pytest.approx({(0, 5): 0.27, (1, 4): 0.27, (1, 5): 0.27})
    far = np.arange(6)[:, None] * np.array([1.0, 0.0, 0.0])
    near = far.copy()
    near[5] = near[0] + [0.0, 0.26, 0.0]
    assert made.clashes(np.stack([far, near])).tolist() == [0, 1]
