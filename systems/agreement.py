"""Whether the terms of a System are those of the force field that a model was trained with."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import openmm
from openmm import app

from latentmd.systems.errors import MoleculeError
from latentmd.systems.own_force_field import is_own
from latentmd.systems.parametrise import load_force_field
from latentmd.systems.protocol import Protocol, Solvent
from latentmd.systems.terms import SystemTerms, read_terms, term_difference

if TYPE_CHECKING:
    from latentmd.model.manifest import Manifest


def disagreeing_term(system: openmm.System, atoms: Sequence[int], manifest: Manifest) -> str:
    """The first term in which a System differs from a model's force field, as a sentence; empty where none does.

    The model's terms are those that the force field named in the manifest gives to its molecule. A model whose training
    data came with a System of their own names no such force field: nothing is compared then. Beside other atoms than
    those of the molecule (`atoms`) its own terms count, and implicit solvent where there is one: without, the
    surroundings are the solvent.
    """
    if is_own(manifest.force_field):
        return ""
    found, expected = read_terms(system, atoms), model_terms(manifest)
    if len(atoms) < system.getNumParticles():
        found = replace(found, cutoff="")
        if found.born is None and "CustomGBForce" not in found.others:
            others = {kind: value for kind, value in expected.others.items() if kind != "CustomGBForce"}
            expected = replace(expected, born=None, dielectric=(), others=others)
    return term_difference(found, expected, manifest.chemistry().labels, ", ".join(manifest.force_field))


def mixing_fault(system: openmm.System, atoms: Sequence[int], manifest: Manifest) -> str:
    """Why a model's energy cannot take the place of a molecule's own in a System, as a sentence; empty where it can.

    The rest of the System meets the molecule's charges and Lennard-Jones parameters, which therefore must be the
    model's; its bonded terms are replaced. A model that was trained in implicit solvent holds the solvation energy.
    """
    found = read_terms(system, atoms)
    if manifest.solvent == "implicit" and (found.born is not None or "CustomGBForce" in found.others):
        return (
            f"the System has implicit solvent, and the model's energy holds that of its training ("
            f"{', '.join(manifest.force_field)}) already, so that it would count twice: make the System without"
        )
    unusual = {kind: value for kind, value in found.others.items() if kind == "NonbondedForce"}
    if is_own(manifest.force_field) or (found.nonbonded is None and not unusual):
        return ""
    pair = (SystemTerms(found.nonbonded, others=unusual), SystemTerms(model_terms(manifest).nonbonded))
    return term_difference(*pair, manifest.chemistry().labels, ", ".join(manifest.force_field))


def model_terms(manifest: Manifest) -> SystemTerms:
    """The terms of a model's molecule in its force field, without constraints."""
    return _terms(manifest.topology, tuple(manifest.force_field), manifest.solvent)


@lru_cache(maxsize=8)
def _terms(topology: str, force_field: tuple[str, ...], solvent: Solvent) -> SystemTerms:
    molecule = app.PDBFile(io.StringIO(topology)).topology
    field = load_force_field(Protocol(solvent, force_field))
    try:
        system = field.createSystem(molecule, nonbondedMethod=app.NoCutoff)
    except ValueError as error:
        raise MoleculeError(f"{', '.join(force_field)} does not describe the molecule of the model: {error}") from error
    return read_terms(system, range(molecule.getNumAtoms()))
