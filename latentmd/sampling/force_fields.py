"""Molecules with their own force field: whether a model was trained with the same one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Doubles
from latentmd.units import percent

if TYPE_CHECKING:
    from latentmd.model.file import Manifest
    from latentmd.model.peptide_file import PeptideManifest
    from latentmd.systems.builder import InputOptions, Molecule

_STRUCTURES = 3  # compared
_DISPLACEMENT = 0.003  # nm, of each coordinate: bonds, angles and contacts all change
_TOLERANCE = 1e-3  # of forces, relative to their root mean square: files round parameters to seven digits


def disagreement(molecule: Molecule, manifest: Manifest | PeptideManifest) -> str:
    """Why a molecule's own force field is not the one a model was trained with; empty where it is.

    A force field is compared by what it does, the forces of both on displaced structures, so that another form of a
    term is the same and a restraint is not; `latentmd.systems.agreement` compares terms, for a part of a System. One
    that latentmd assigned is compared by the names of its files, one that came as an OpenMM System by its identity.
    """
    from latentmd.systems.own_force_field import is_own

    ours, theirs = tuple(molecule.protocol.force_field_files), tuple(manifest.force_field)
    if ours == theirs:
        return ""
    if not molecule.own_force_field or is_own(theirs):
        came = "its own force field" if is_own(theirs) else ", ".join(theirs)
        return f"it was trained with {came}, not with {', '.join(molecule.own_force_field or ours)}"
    names = f"{', '.join(theirs)}, which the model was trained with"
    other = _expected_system(molecule, manifest)
    if isinstance(other, str):
        return f"{names}, does not describe it ({other})"
    difference = _force_difference(molecule, other)
    if difference < _TOLERANCE:
        return ""
    return (
        f"the forces of {', '.join(molecule.own_force_field)} differ by {percent(difference, 1)} from those of {names}"
    )


def refuse_force_field(source: Path, inputs: InputOptions, force_field: tuple[str, ...]) -> None:
    """Refuse --force-field, with ValueError, for a molecule that brings its own."""
    from latentmd.systems.own_force_field import brings_force_field

    if force_field and brings_force_field(source, inputs):
        raise ValueError(f"{inputs.system or source} brings its own force field; leave out --force-field")


def _expected_system(molecule: Molecule, manifest: Manifest | PeptideManifest) -> Any:
    """System of the molecule under a model's force field, or a sentence on why there is none."""
    from latentmd.systems.builder import MoleculeError, Protocol
    from latentmd.systems.parametrise import load_force_field, parametrise

    solvent: Any = manifest.solvent
    protocol = Protocol(solvent, tuple(manifest.force_field))
    try:
        return parametrise(molecule.topology, load_force_field(protocol), protocol, Path("the molecule"))
    except MoleculeError as error:
        return str(error)


def _force_difference(molecule: Molecule, system: Any) -> float:
    """Root mean square of the difference of forces over that of the forces."""
    from openmm import unit

    start = np.array(molecule.positions.value_in_unit(unit.nanometer), dtype=np.float64)
    rng = np.random.default_rng(0)
    frames = start + rng.normal(scale=_DISPLACEMENT, size=(_STRUCTURES, *start.shape))
    ours, theirs = _forces(molecule.system, frames), _forces(system, frames)
    return float(np.sqrt(np.mean((ours - theirs) ** 2) / np.mean(theirs**2)))


def _forces(system: Any, frames: Doubles) -> Doubles:
    """Forces in kJ/mol/nm of structures, shape (frames, atoms, 3)."""
    import openmm

    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    found = []
    for frame in frames:
        context.setPositions(frame)
        found.append(context.getState(forces=True).getForces(asNumpy=True)._value)
    return np.array(found, dtype=np.float64)
