"""The molecule of a run of paths: from one or two PDB files, or from the model alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from openmm import unit

from latentmd.arrays import Doubles
from latentmd.sampling.conditions import ModelFile, bundled_model, check_covered, given_model, of_one, protocol_of
from latentmd.sampling.paths.relax import relax
from latentmd.sampling.paths.request import Subject
from latentmd.sampling.preparation import molecule_under
from latentmd.systems.protocol import InputOptions

if TYPE_CHECKING:
    from latentmd.systems.builder import Molecule


def subject_of(pdbs: tuple[Path, ...], model: str | None, inputs: InputOptions) -> Subject:
    """Read the molecule and check that the model covers it.

    Args:
        pdbs: files of one molecule; none for the model's own.
        model: name or path; the bundled model that covers the molecule where None.
        inputs: choices where a file leaves one.

    Raises:
        ValueError: a file or the model is wrong, they do not fit together, or the files hold different molecules.
    """
    if not pdbs:
        if model is None:
            raise ValueError(
                "nothing says which molecule; give PDB files of the two ends, or --model with --from and --to"
            )
        found = _of_one(given_model(model), Path("A.pdb"))
        with tempfile.TemporaryDirectory() as folder:
            own = Path(folder) / "model.pdb"
            own.write_text(of_one(found).topology, encoding="utf-8")
            molecule = molecule_under(protocol_of(found.manifest, inputs), own, None)
        return Subject(molecule, found, (), _positions(molecule))
    first, found = _first(pdbs[0], model, inputs)
    molecules = [first]
    for pdb in pdbs[1:]:
        other = molecule_under(first.protocol, pdb, None)
        _same(first, other, pdbs[0], pdb)
        molecules.append(other)
    for molecule, pdb in zip(molecules, pdbs, strict=True):
        check_covered(molecule, found, pdb)
    quantiles = of_one(found).reference.energy_quantiles
    limits = None if quantiles is None else (quantiles[1], quantiles[2])
    structures = relax(first, np.stack([_positions(molecule) for molecule in molecules]), limits).positions
    return Subject(first, found, tuple(structures), structures[0])


def _first(pdb: Path, model: str | None, inputs: InputOptions) -> tuple[Molecule, ModelFile]:
    from latentmd.systems.builder import Protocol

    if model is not None:
        found = _of_one(given_model(model), pdb)
        return molecule_under(protocol_of(found.manifest, inputs), pdb, None), found
    molecule = molecule_under(Protocol("implicit", inputs=inputs), pdb, None)
    found = _of_one(bundled_model(molecule, pdb), pdb)
    return molecule_under(protocol_of(found.manifest, inputs), pdb, molecule), found


def _of_one(model: ModelFile, pdb: Path) -> ModelFile:
    """Refuse a model of many peptides, whose states are those of no molecule.

    Raises:
        ValueError: how to bind it.
    """
    if not model.many:
        return model
    raise ValueError(
        f"{model.manifest.name} is a model of many peptides, which has no states until it is bound to one: run "
        f"`latentmd bind {pdb} --out {pdb.stem}.pt` first, then give --model {pdb.stem}.pt"
    )


def _same(first: Molecule, other: Molecule, a: Path, b: Path) -> None:
    """Refuse two molecules that are not one.

    Raises:
        ValueError: they have other residues or atoms, or the same in another order.
    """
    atoms = [
        [(atom.name, atom.residue.name, atom.residue.index) for atom in molecule.topology.atoms()]
        for molecule in (first, other)
    ]
    if atoms[0] == atoms[1]:
        return
    names = ["-".join(residue.name for residue in molecule.topology.residues()) for molecule in (first, other)]
    raise ValueError(
        f"{a} holds {names[0]} with {len(atoms[0])} atoms and {b} holds {names[1]} with {len(atoms[1])}: a path joins "
        "two structures of one molecule; give two files of the same molecule, atoms in the same order"
    )


def _positions(molecule: Molecule) -> Doubles:
    return np.array(molecule.positions.value_in_unit(unit.nanometer), dtype=np.float64)
