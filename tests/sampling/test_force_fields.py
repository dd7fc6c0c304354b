"""Whether a model was trained with the force field that a molecule brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.model.file import read_manifest, read_sha256
from latentmd.sampling.force_fields import disagreement, refuse_force_field
from latentmd.sampling.models import OneMolecule, UncoveredError, bundled_model, reference_model
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


def test_a_force_field_beside_the_molecules_own_is_refused() -> None:
    with pytest.raises(ValueError, match="brings its own force field"):
        refuse_force_field(FILES / "ala.prmtop", PRMTOP, ("amber14-all.xml",))
    refuse_force_field(FILES / "ala.pdb", InputOptions(), ("amber14-all.xml",))
