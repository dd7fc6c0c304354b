"""An OpenMM System from an XML file, and the structure that it describes."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from latentmd.arrays import Doubles
from latentmd.molecule.chemistry import chemistry
from latentmd.systems.errors import MoleculeError, first_line
from latentmd.systems.readers.text import file_format, read_bytes, read_text

_BONDED = 1.25  # distance over the sum of covalent radii below which atoms of a custom bond are bonded
_TO_HYDROGEN = 0.16  # nm; longest constraint that is a bond to hydrogen (S-H 0.134), not a fixed angle


def read_system(path: Path) -> openmm.System:
    """Read a System that `openmm.XmlSerializer` wrote."""
    text = read_bytes(path).decode("utf-8", errors="replace")
    expected = "expected an OpenMM System, as XmlSerializer.serialize(system) writes it"
    if "<System" not in text[:2000]:
        hint = "a force field goes with --force-field; " if "<ForceField" in text[:2000] else ""
        raise MoleculeError(f"{path}: no System in it; {hint}{expected}")
    try:
        system = openmm.XmlSerializer.deserialize(text)
    except Exception as error:
        raise MoleculeError(f"{path}: cannot be read ({first_line(error)}); {expected}") from error
    if not isinstance(system, openmm.System) or not system.getNumParticles():
        raise MoleculeError(f"{path}: no System with particles in it; {expected}")
    return system


def structure_of(source: Path, system: openmm.System) -> tuple[app.Topology, Doubles, list[str]]:
    """Topology, positions in nm and notes of the structure that belongs to a System, in the order of the file.

    The topology's bonds are the file's, with those of the System that the file lacks.
    """
    text = read_text(source)
    kind = file_format(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of OpenMM's reader
            file = {"pdb": app.PDBFile, "mmcif": app.PDBxFile}[kind](io.StringIO(text))
    except KeyError:
        raise MoleculeError(f"{source}: no PDB or mmCIF file, which --system goes with") from None
    except Exception as error:
        raise MoleculeError(f"{source}: OpenMM cannot read it ({first_line(error)})") from error
    topology = file.topology
    if topology.getNumAtoms() != system.getNumParticles():
        raise MoleculeError(
            f"{source}: has {topology.getNumAtoms()} atoms, the System {system.getNumParticles()} particles; give the "
            "structure that the System was made of"
        )
    _check_masses(source, topology, system)
    positions = np.array(file.positions.value_in_unit(unit.nanometer), dtype=np.float64)
    notes = _complete_bonds(source, topology, system, positions)
    try:
        chemistry(topology)
    except ValueError as error:
        raise MoleculeError(f"{source}: {error}") from error
    return topology, positions, notes


def _check_masses(source: Path, topology: app.Topology, system: openmm.System) -> None:
    """Refuse another order of atoms, as far as the masses tell; hydrogens may be heavier, their partners lighter."""
    for atom in topology.atoms():
        mass = system.getParticleMass(atom.index)._value
        usual = 0.0 if atom.element is None else atom.element.mass._value
        light = usual < 2
        fits = mass < 5 if light else usual - 10 <= mass <= usual + 1 and mass > 4
        if mass and not fits:
            raise MoleculeError(
                f"{source}: atom {atom.index + 1} is {atom.residue.name}{atom.residue.id}-{atom.name}, the System has "
                f"{mass:.1f} amu there: another order of atoms, or another molecule"
            )


def _complete_bonds(source: Path, topology: app.Topology, system: openmm.System, positions: Doubles) -> list[str]:
    atoms = list(topology.atoms())
    ours = {frozenset((a.index, b.index)) for a, b in topology.bonds()}
    theirs = _bonds(system, [a.element is app.element.hydrogen for a in atoms])
    custom = _custom_bonds(system)
    theirs |= {frozenset((i, j)) for i, j in map(sorted, custom) if _near(i, j, atoms, positions)}
    if not theirs:
        return []
    wrong = sorted(sorted(pair) for pair in ours - theirs - custom)
    if wrong:
        i, j = wrong[0]
        names = f"{atoms[i].residue.name}{atoms[i].residue.id}-{atoms[i].name} and {atoms[j].name}"
        raise MoleculeError(
            f"{source}: bonds {names}, which the System does not: another order of atoms, or another molecule"
        )
    missing = sorted(sorted(pair) for pair in theirs - ours)
    for i, j in missing:
        topology.addBond(atoms[i], atoms[j])
    return [f"{len(missing)} bonds that the file does not state are taken from the System"] if missing else []


def _custom_bonds(system: openmm.System) -> set[frozenset[int]]:
    """Pairs of atoms that custom forces act on: bonds of other forms than the harmonic one, but also 1-4 terms."""
    pairs = set()
    for force in system.getForces():
        if isinstance(force, openmm.CustomBondForce):
            pairs |= {frozenset(force.getBondParameters(k)[:2]) for k in range(force.getNumBonds())}
        elif isinstance(force, openmm.CustomCompoundBondForce) and force.getNumParticlesPerBond() == 2:
            pairs |= {frozenset(force.getBondParameters(k)[0]) for k in range(force.getNumBonds())}
    return pairs


def _near(i: int, j: int, atoms: list[app.topology.Atom], positions: Doubles) -> bool:
    """Whether two atoms are as close as bonded ones, and no farther."""
    from ase.data import covalent_radii

    radii = [0.1 * covalent_radii[atoms[k].element.atomic_number] if atoms[k].element else 0.0 for k in (i, j)]
    return float(np.linalg.norm(positions[i] - positions[j])) < _BONDED * sum(radii)


def _bonds(system: openmm.System, hydrogen: list[bool]) -> set[frozenset[int]]:
    """Pairs of atoms that a System bonds: by harmonic bonds, or by constraints that are no fixed angles."""
    pairs = set()
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            pairs |= {frozenset(force.getBondParameters(k)[:2]) for k in range(force.getNumBonds())}
    for k in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(k)
        light = hydrogen[i] + hydrogen[j]
        if light == 0 or (light == 1 and length._value < _TO_HYDROGEN):
            pairs.add(frozenset((i, j)))
    return pairs
