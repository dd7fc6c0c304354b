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
    order = molecule.order(atoms)
    assert order.tolist() == list(range(22))
    np.testing.assert_allclose(molecule.whole(atoms, order), np.asarray(alanine.positions._value), atol=1e-12)


def test_other_atoms_are_named(molecule: ModelMolecule, atoms: Any) -> None:
    with pytest.raises(ValueError, match="covers a molecule of 22 atoms, found 21"):
        molecule.order(atoms[:21])
    atoms.symbols[4] = "N"
    with pytest.raises(ValueError, match="'torsion-ou' does not cover these atoms: it is C5H12N3O2"):
        molecule.order(atoms)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_is_found_by_distances(molecule: ModelMolecule, atoms: Any, seed: int) -> None:
    """Up to hydrogens of one carbon, whose order follows from the handedness alone."""
    order = np.random.default_rng(seed).permutation(22)
    true = order[molecule.order(atoms[order])]
    heavy = [i for i, symbol in enumerate(molecule.symbols) if symbol != "H" or molecule.labels[i][4:] in ("-H", "-HA")]
    assert [true[i] for i in heavy] == heavy


def test_exchanged_hydrogens_change_places(molecule: ModelMolecule, atoms: Any) -> None:
    """HA and HB1 are 2.2 Å apart: their elements are in order, their bonds are not."""
    a, b = (molecule.labels.index(name) for name in ("ALA2-HA", "ALA2-HB1"))
    order = list(range(22))
    order[a], order[b] = b, a
    assert molecule.order(atoms[order]).tolist() == order


def test_an_order_is_kept_where_it_fits(molecule: ModelMolecule, atoms: Any) -> None:
    order = np.random.default_rng(7).permutation(22)
    found = molecule.order(atoms[order])
    assert molecule.order(atoms[order], found) is found
    assert molecule.order(atoms, found).tolist() == list(range(22))


def test_the_mirror_image_is_refused(molecule: ModelMolecule, atoms: Any) -> None:
    atoms.positions *= -1
    with pytest.raises(ValueError, match="the other handedness at ALA2-CA"):
        molecule.order(atoms)


def test_a_molecule_cut_by_the_cell_is_made_whole(molecule: ModelMolecule, atoms: Any) -> None:
    own = np.arange(22)
    whole = molecule.whole(atoms, own)
    atoms.set_cell([12.0, 13.0, 14.0])
    atoms.pbc = True
    atoms.positions += 9.0
    atoms.wrap()
    assert not np.allclose(atoms.positions - atoms.positions[0], 10 * (whole - whole[0]))
    shuffled = np.random.default_rng(1).permutation(22)
    order = molecule.order(atoms[shuffled])
    found = molecule.whole(atoms[shuffled], order)
    heavy = molecule.numbers > 1
    np.testing.assert_allclose((found - found[0])[heavy], (whole - whole[0])[heavy], atol=1e-9)
    found = molecule.whole(atoms, molecule.order(atoms))
    np.testing.assert_allclose(found - found[0], whole - whole[0], atol=1e-9)


def test_positions_that_are_not_finite_are_refused(molecule: ModelMolecule, atoms: Any) -> None:
    atoms.positions[3] = np.nan
    with pytest.raises(ValueError, match="positions are not finite"):
        molecule.order(atoms)


def test_a_propagator_is_shared(ou_bundle: Path) -> None:
    model = Propagator(ou_bundle, "cpu")
    assert as_propagator(model, "cpu") is model
    assert isinstance(as_propagator(ou_bundle, "cpu"), Propagator)
