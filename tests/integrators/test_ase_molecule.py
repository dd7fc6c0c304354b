"""The molecule of a model as ASE sees it: other atoms, another order and cut molecules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

ase = pytest.importorskip("ase")

from latentmd.integrators.ase_molecule import ModelMolecule, as_propagator  # noqa: E402
from latentmd.model.file import read_manifest  # noqa: E402
from latentmd.model.propagator import Propagator  # noqa: E402


@pytest.fixture(scope="module")
def molecule(ou_bundle: Path) -> ModelMolecule:
    return ModelMolecule(read_manifest(ou_bundle))


@pytest.fixture
def atoms(alanine: Any, molecule: ModelMolecule) -> Any:
    return ase.Atoms(molecule.symbols, 10 * np.asarray(alanine.positions._value))


def test_the_molecule_itself_passes(molecule: ModelMolecule, atoms: Any, alanine: Any) -> None:
    molecule.check(atoms)
    np.testing.assert_allclose(molecule.whole(atoms), np.asarray(alanine.positions._value), atol=1e-12)


def test_other_atoms_are_named(molecule: ModelMolecule, atoms: Any) -> None:
    with pytest.raises(ValueError, match="covers a molecule of 22 atoms, found 21"):
        molecule.check(atoms[:21])
    atoms.symbols[4] = "N"
    with pytest.raises(ValueError, match=r"atom 4 is N, expected C \(ACE1-C of model 'torsion-ou'\)"):
        molecule.check(atoms)


def test_another_order_is_seen_by_its_bonds(molecule: ModelMolecule, atoms: Any) -> None:
    carbons = [i for i, symbol in enumerate(molecule.symbols) if symbol == "C"]
    order = list(range(22))
    order[carbons[0]], order[carbons[-1]] = carbons[-1], carbons[0]
    with pytest.raises(ValueError, match="are bonded; put the atoms in the model's order"):
        molecule.check(atoms[order])


def test_a_molecule_cut_by_the_cell_is_made_whole(molecule: ModelMolecule, atoms: Any) -> None:
    whole = molecule.whole(atoms)
    atoms.set_cell([12.0, 13.0, 14.0])
    atoms.pbc = True
    atoms.positions += 9.0
    atoms.wrap()
    assert not np.allclose(atoms.positions - atoms.positions[0], 10 * (whole - whole[0]))
    molecule.check(atoms)
    found = molecule.whole(atoms)
    np.testing.assert_allclose(found - found[0], whole - whole[0], atol=1e-9)


def test_positions_that_are_not_finite_are_refused(molecule: ModelMolecule, atoms: Any) -> None:
    atoms.positions[3] = np.nan
    with pytest.raises(ValueError, match="positions are not finite"):
        molecule.check(atoms)


def test_a_propagator_is_shared(ou_bundle: Path) -> None:
    model = Propagator(ou_bundle, "cpu")
    assert as_propagator(model, "cpu") is model
    assert isinstance(as_propagator(ou_bundle, "cpu"), Propagator)
