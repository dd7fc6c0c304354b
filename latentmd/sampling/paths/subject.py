"""The molecule of a run of paths: from one or two PDB files, or from the model alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from openmm import unit

from latentmd.arrays import Doubles
from latentmd.molecule.matching import match
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
    check_covered(first, found, pdbs[0])
    ends = [_positions(first)]
    for pdb in pdbs[1:]:
        ends.append(_in_order_of(first, molecule_under(first.protocol, pdb, None), pdbs[0], pdb))
    quantiles = of_one(found).reference.energy_quantiles
    limits = None if quantiles is None else (quantiles[1], quantiles[2])
    structures = relax(first, np.stack(ends), limits).positions
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


def _in_order_of(first: Molecule, other: Molecule, a: Path, b: Path) -> Doubles:
    """Positions of a molecule, nm, shape (atoms, 3), in the order of the atoms of another file of it.

    Raises:
        ValueError: they are two molecules.
    """
    positions = _positions(other)
    answer = match(first.topology, other.topology, _positions(first), positions)
    if answer:
        return positions[list(answer.order)]
    names = ["-".join(residue.name for residue in molecule.topology.residues()) for molecule in (first, other)]
    raise ValueError(
        f"{a} holds {names[0]} and {b} holds {names[1]}: a path joins two structures of one molecule, and of the second"
        f" {answer.reason.replace('the molecule of the model', 'the first')}; give two files of the same molecule"
    )


def _positions(molecule: Molecule) -> Doubles:
    return np.array(molecule.positions.value_in_unit(unit.nanometer), dtype=np.float64)
