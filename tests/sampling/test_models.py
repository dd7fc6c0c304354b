"""Models and molecules that do or do not belong together, also by their force fields."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from latentmd.model.file import read_manifest, read_sha256
from latentmd.sampling.models import (
    ManyMolecules,
    OneMolecule,
    UncoveredError,
    bundled_model,
    check_conditions,
    disagreement,
    given_model,
    reference_model,
)
from latentmd.sampling.run.options import WalkerOptions
from latentmd.systems.builder import InputOptions, Molecule, Protocol, build

FILES = Path(__file__).parents[1] / "systems" / "own_force_field"
NAME = "alanine-dipeptide"
PRMTOP = InputOptions(positions=str(FILES / "ala.rst7"))


@pytest.fixture(scope="module")
def same() -> Molecule:
    return build(FILES / "ala.prmtop", Protocol(inputs=PRMTOP))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Molecule:
    """The same prmtop with one charge moved from one hydrogen to another."""
    path = tmp_path_factory.mktemp("other") / "other.prmtop"
    text = (FILES / "ala.prmtop").read_text()
    first, second = "2.04636429E+00  2.04636429E+00", "1.04636429E+00  3.04636429E+00"
    assert first in text
    path.write_text(text.replace(first, second, 1))
    return build(path, Protocol(inputs=PRMTOP))


def test_a_prmtop_with_the_forces_of_the_model_is_covered(same: Molecule) -> None:
    assert disagreement(same, read_manifest(NAME)) == ""
    assert bundled_model(same, FILES / "ala.prmtop").name == NAME
    assert reference_model(same) is not None


def test_other_forces_are_not_covered(other: Molecule) -> None:
    manifest = read_manifest(NAME)
    assert "differ by" in disagreement(other, manifest)
    assert reference_model(other) is None
    with pytest.raises(UncoveredError, match="differ by"):
        bundled_model(other, FILES / "ala.prmtop")
    with pytest.raises(ValueError, match="holds for its force field only"):
        OneMolecule(NAME, manifest, read_sha256(NAME)).check(other, FILES / "ala.prmtop")


def test_a_model_of_a_molecules_own_force_field_is_for_that_one_alone(same: Molecule, other: Molecule) -> None:
    manifest = read_manifest(NAME).model_copy(update={"force_field": list(same.protocol.force_field)})
    assert disagreement(same, manifest) == ""
    assert "its own force field" in disagreement(other, manifest)
    assert "its own force field" in disagreement(build(FILES / "ala.pdb"), manifest)


MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"
SETTINGS = WalkerOptions(mode="latent", time=1.0, interval=1.0, walkers=1, out=Path("x"))


def test_the_bundled_model_is_found_by_molecule(alanine: Any) -> None:
    model = bundled_model(alanine, MOLECULES / "alanine_dipeptide.pdb")
    assert len(model.sha256) == 64 and Protocol.of(model.manifest).solvent == "implicit"
    model.check(alanine, Path("alanine.pdb"))
    found = reference_model(replace(alanine, protocol=Protocol.of(model.manifest)))
    assert found is not None and found.name == model.manifest.name
    assert reference_model(replace(alanine, protocol=replace(alanine.protocol, temperature=301.0))) is None


def test_an_uncovered_molecule_says_how_to_make_a_model(ou_bundle: Path) -> None:
    path = MOLECULES / "chignolin.pdb"
    molecule = build(path, Protocol())
    with pytest.raises(UncoveredError, match="latentmd train chignolin-md") as error:
        bundled_model(molecule, path)
    assert "peptides: it has 10 residues; covered are 1 to 8" in error.value.reason
    assert error.value.reason.startswith("no bundled model covers GLY-TYR-ASP-PRO-GLU-THR-GLY-THR-TRP-GLY (")
    assert str(error.value).startswith(error.value.reason + ". Train one:")
    with pytest.raises(ValueError, match="does not cover GLY-TYR"):
        given_model(str(ou_bundle)).check(molecule, path)


def test_a_peptide_that_no_model_of_its_own_covers_gets_the_model_of_many() -> None:
    path = MOLECULES / "trialanine.pdb"
    molecule = build(path, Protocol())
    model = bundled_model(molecule, path)
    assert isinstance(model, ManyMolecules) and model.manifest.name == "peptides"
    model.check(molecule, path)
    with pytest.raises(UncoveredError, match="peptides: the temperature is 300 K; covered is 350 K"):
        bundled_model(molecule, path, 300.0)
    vacuum = build(path, Protocol("vacuum"))
    with pytest.raises(UncoveredError, match="peptides: the force field is"):
        bundled_model(vacuum, path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"temperature": 300.0}, "--temperature is 300 K; the model .* was trained at 350 K"),
        ({"solvent": "vacuum"}, "--solvent is vacuum; the model .* was trained in implicit solvent"),
        ({"force_field": ("other.xml",)}, "--force-field is other.xml"),
    ],
)
def test_other_conditions_than_the_models(change: dict[str, Any], text: str, ou_bundle: Path) -> None:
    model = given_model(str(ou_bundle))
    check_conditions(replace(SETTINGS, temperature=350.0, solvent="implicit"), model)
    with pytest.raises(ValueError, match=f"{text}.*--mode md"):
        check_conditions(replace(SETTINGS, **change), model)


def test_a_model_without_a_force_field_advises_no_md(solute_model: Path) -> None:
    expected = r"trained at 350 K and holds only there: leave the option out, or train a model on MD at 310 K$"
    with pytest.raises(ValueError, match=expected):
        check_conditions(replace(SETTINGS, temperature=310.0), given_model(str(solute_model)))
    with pytest.raises(ValueError, match=r"one that is not known: leave the option out$"):
        check_conditions(replace(SETTINGS, force_field=("other.xml",)), given_model(str(solute_model)))
