"""Files that once gave a wrong molecule without a word: each gives the right one, or one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from openmm import NonbondedForce, unit

from latentmd.molecule.stereo import handedness
from latentmd.systems.builder import InputOptions, Molecule, MoleculeError, Protocol, build
from latentmd.systems.sanity import in_nm, named_charge

CASES = Path(__file__).parent / "cases"
ALANINE = "ACE-ALA-NME"


def names(molecule: Molecule) -> str:
    return "-".join(residue.name for residue in molecule.topology.residues())


def charge(molecule: Molecule) -> float:
    force = next(f for f in molecule.system.getForces() if isinstance(f, NonbondedForce))
    charges = (force.getParticleParameters(i)[0] for i in range(force.getNumParticles()))
    return float(sum(q.value_in_unit(unit.elementary_charge) for q in charges))


@pytest.mark.parametrize(
    ("file", "sequence", "atoms", "net"),
    [
        ("ASH_as_ASH_noh.pdb", "ACE-ALA-ASH-ALA-NME", 45, 0),
        ("CYM_as_CYM_h.pdb", "ACE-ALA-CYM-ALA-NME", 42, -1),
        ("GLH_as_GLH_noh.pdb", "ACE-ALA-GLH-ALA-NME", 48, 0),
        ("HIP_as_HIP_noh.pdb", "ACE-ALA-HIP-ALA-NME", 50, 1),
        ("HSE_as_HIE_h.pdb", "ACE-ALA-HIE-ALA-NME", 49, 0),
        ("LYN_as_LYN_noh.pdb", "ACE-ALA-LYN-ALA-NME", 53, 0),
        ("ala.cif", ALANINE, 22, 0),
        ("rcsb_style.cif", ALANINE, 22, 0),
        ("ala.gro", ALANINE, 22, 0),
        ("ala.pdb.gz", ALANINE, 22, 0),
        ("bom.pdb", ALANINE, 22, 0),
        ("models_differ.pdb", ALANINE, 22, 0),
        ("cyclo_conect.pdb", "ALA-GLY-ALA-GLY-ALA-GLY", 51, 0),
        ("cyclo_h_conect.pdb", "ALA-GLY-ALA-GLY-ALA-GLY", 51, 0),
        ("cys_no_hg_320_h.pdb", "ACE-CYS-NME-ACE-CYS-NME", 46, 0),
        ("mse_noh.pdb", "ACE-ALA-MET-ALA-NME", 49, 0),
        ("two_restart_nooxt.pdb", "ALA-GLY-ALA-ALA-GLY-ALA", 60, 0),
    ],
)
def test_the_right_molecule(file: str, sequence: str, atoms: int, net: int) -> None:
    molecule = build(CASES / file)
    assert (names(molecule), molecule.topology.getNumAtoms()) == (sequence, atoms)
    assert charge(molecule) == pytest.approx(net, abs=1e-3)
    assert named_charge(molecule.topology) == net


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("gap.pdb", r"missing between GLY \(A:3\) and GLY \(A:6\): 0.70 nm apart"),
        ("gap_noh.pdb", r"missing between GLY \(A:3\) and GLY \(A:6\)"),
        ("gap_seqres.pdb", "--missing add"),
        ("cys_320_noh_ssbond_conect.pdb", "SSBOND record .* 0.320 nm apart"),
        ("ssbond_only_cyx_320_h.pdb", "SSBOND record .* 0.320 nm apart"),
        ("dup_atoms.pdb", "the molecule is there twice"),
        ("nm_units.pdb", "another unit"),
        ("zeros.pdb", "all 22 atoms are at one point"),
    ],
)
def test_one_sentence(file: str, reason: str) -> None:
    with pytest.raises(MoleculeError, match=reason) as caught:
        build(CASES / file)
    assert "\n" not in str(caught.value)


def test_missing_residues_are_modelled_as_l_and_trans() -> None:
    molecule = build(CASES / "gap_seqres.pdb", Protocol(inputs=InputOptions(missing="add")))
    assert names(molecule) == "ACE-ALA-GLY-SER-ALA-GLY-ALA-NME"
    assert set(handedness(molecule.topology, in_nm(molecule.positions)).values()) == {"L"}
    assert any("modelled" in note for note in molecule.notes)
    context = molecule.context(molecule.langevin(1), "Reference")
    context.getIntegrator().step(200)  # without a minimisation first
    assert np.isfinite(in_nm(context.getState(positions=True).getPositions())).all()


@pytest.mark.parametrize(
    ("ends", "sequence"),
    [("charged", "ACE-ALA-GLY-GLY-ALA-NME"), ("capped", "ACE-ALA-GLY-NME-ACE-GLY-ALA-NME")],
)
def test_a_gap_can_split_the_chain(ends: str, sequence: str) -> None:
    options = InputOptions(missing="split", ends=ends)  # type: ignore[arg-type]
    molecule = build(CASES / "gap.pdb", Protocol(inputs=options))
    assert names(molecule) == sequence and molecule.topology.getNumChains() == 2


@pytest.mark.parametrize(
    ("name", "state"),
    [("HID", "HID"), ("HIE", "HIE"), ("HSP", "HIP"), ("HSD", "HID"), ("HSE", "HIE"), ("HISH", "HIP")],
)
def test_names_decide_protonation(name: str, state: str, tmp_path: Path) -> None:
    text = (CASES / "HIP_as_HIP_noh.pdb").read_text().replace("HIP A", f"{name:<4s}A")
    path = tmp_path / "named.pdb"
    path.write_text(text)
    assert names(build(path)) == f"ACE-ALA-{state}-ALA-NME"


@pytest.mark.parametrize(("ph", "state"), [(3.0, "ASH"), (7.0, "ASP")])
def test_ph_decides_where_no_name_does(ph: float, state: str, tmp_path: Path) -> None:
    path = tmp_path / "asp.pdb"
    path.write_text((CASES / "ASH_as_ASH_noh.pdb").read_text().replace("ASH", "ASP"))
    molecule = build(path, Protocol(inputs=InputOptions(ph=ph)))
    assert names(molecule) == f"ACE-ALA-{state}-ALA-NME" and f"pH {ph:g}" in molecule.notes[0]


def test_another_model_is_taken_when_asked_for() -> None:
    molecule = build(CASES / "models_differ.pdb", Protocol(inputs=InputOptions(model_number=2)))
    assert names(molecule) == "ACE-ALA-SER-ALA-NME" and "model 2 of 2" in molecule.notes[0]
    with pytest.raises(MoleculeError, match="the models 1, 2"):
        build(CASES / "models_differ.pdb", Protocol(inputs=InputOptions(model_number=7)))


def test_half_a_disulfide_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cyx.pdb"
    path.write_text((CASES / "CYM_as_CYM_h.pdb").read_text().replace("CYM", "CYX"))
    with pytest.raises(MoleculeError, match="half of a disulfide"):
        build(path)


def test_a_d_amino_acid_is_not_covered_by_the_model_of_the_l_one() -> None:
    from latentmd.sampling.models import UncoveredError, bundled_model, given_model

    path = CASES / "d_named_ala.pdb"
    molecule = build(path)
    assert any("D amino acids by their geometry" in note for note in molecule.notes)
    with pytest.raises(UncoveredError, match="other handedness at ALA2-CA"):
        bundled_model(molecule, path)
    with pytest.raises(ValueError, match="mirror image"):
        given_model("alanine-dipeptide").check(molecule, path)


def test_names_of_d_amino_acids(tmp_path: Path) -> None:
    path = tmp_path / "dal.pdb"
    path.write_text((CASES / "d_named_ala.pdb").read_text().replace("ALA", "DAL"))
    assert handedness(build(path).topology, in_nm(build(path).positions)) == {1: "D"}
    path.write_text((CASES / "bom.pdb").read_text(encoding="utf-8-sig").replace("ALA", "DAL"))
    with pytest.raises(MoleculeError, match="geometry of an L one"):
        build(path)
