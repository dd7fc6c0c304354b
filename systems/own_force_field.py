"""Molecules that bring their own force field: Amber prmtop, GROMACS top, CHARMM psf, or an OpenMM System as XML.

OpenMM's own readers make the System; nothing is added to the molecule and nothing renamed.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from latentmd.arrays import Doubles
from latentmd.io.atomic import write_text
from latentmd.molecule.chemistry import chemistry
from latentmd.systems import parametrise
from latentmd.systems.molecule import Molecule
from latentmd.systems.names import WATER
from latentmd.systems.protocol import DEFAULT_INPUTS, SYSTEM_FILE, InputOptions, MoleculeError, Protocol, Solvent
from latentmd.systems.readers.text import file_format, read_bytes, read_text, source_kind
from latentmd.systems.readers.topologies import read_topology
from latentmd.systems.sanity import LONGEST_BOND, check_bonds, in_nm, net_charge
from latentmd.units import first_line

_PREFIX = "system:"  # begins the identity of a force field that is no list of OpenMM XML files
_ROUNDING = 0.02  # e, of charges with four digits, all atoms together
_HEAVY = 2.0  # amu; a hydrogen below it was not made heavier
_FREE, _LIGHT, _LONGEST = 0.001, 0.002, 0.005  # ps: free bonds to hydrogen, constrained ones, heavy hydrogens too


def refuse_force_field(source: Path, inputs: InputOptions) -> None:
    """Refuse --force-field, with ValueError, for a molecule that brings its own."""
    if source_kind(source, inputs) == "own":
        raise ValueError(f"{inputs.system or source} brings its own force field; leave out --force-field")


def is_own(force_field: tuple[str, ...] | list[str]) -> bool:
    """Whether the force field of a protocol or manifest came with a molecule, and is no list of OpenMM XML files."""
    return any(name.startswith(_PREFIX) for name in force_field)


def identity(system: openmm.System) -> str:
    """Name of a force field as one molecule has it: a hash of the whole System, constraints and masses included."""
    return f"{_PREFIX}{hashlib.sha256(openmm.XmlSerializer.serialize(system).encode()).hexdigest()[:16]}"


def inputs_beside(top: Path) -> InputOptions:
    """Options under which a run's topology.pdb gets the force field of the run: its system.xml, if there is one."""
    path = top.with_name(SYSTEM_FILE)
    return InputOptions(system=str(path)) if path.is_file() else InputOptions()


def write_system(molecule: Molecule, folder: Path) -> None:
    """Write the System of a molecule with its own force field beside its topology.pdb, for training and evaluation."""
    if molecule.own_force_field:
        write_text(folder / SYSTEM_FILE, openmm.XmlSerializer.serialize(molecule.system))


def build_own(source: Path, protocol: Protocol) -> Molecule:
    """Molecule with the force field that its files bring; its protocol holds the identity of that force field."""
    inputs = protocol.inputs
    for name in ("ph", "model_number", "altloc", "missing", "ends"):
        if getattr(inputs, name) != getattr(DEFAULT_INPUTS, name):
            option = name.replace("_", "-")
            raise MoleculeError(f"--{option} has no meaning for a molecule with its own force field; leave it out")
    if inputs.system is not None:
        if inputs.positions or inputs.parameters:
            raise MoleculeError(f"{source}: --positions and --parameters have no meaning with --system; leave them out")
        system = parametrise.with_native_obc2(read_system(Path(inputs.system)))
        if fault := parametrise.thermostat_fault(system) or parametrise.barostat_fault(system):
            raise MoleculeError(f"{inputs.system}: {fault}")
        topology, positions, notes = structure_of(source, system)
        files = [inputs.system]
    else:
        topology, system, positions, notes = read_topology(source, protocol)
        files = [str(source), *inputs.parameters]
    check_bonds(topology, positions)
    if len(positions) > 1 and np.ptp(positions, axis=0).max() < 1e-6:
        raise MoleculeError(f"{source}: all {len(positions)} atoms are at one point; the file holds no coordinates")
    if not topology.getNumBonds() and topology.getNumAtoms() > 1:
        raise MoleculeError(f"{source}: neither the topology nor the System has any bonds; add CONECT records")
    notes += repartition(system, topology, protocol)
    if (kind := solvent_of(system)) != protocol.solvent:
        what = {"vacuum": "no solvent", "explicit": "a periodic box", "implicit": "implicit solvent"}[kind]
        raise MoleculeError(f"{files[0]}: describes {what}, not --solvent {protocol.solvent}; add --solvent {kind}")
    if fault := parametrise.radius_fault(system):
        raise MoleculeError(f"{files[0]}: {fault}")
    check_timestep(system, topology, protocol, files[0])
    charge = net_charge(system)
    if not abs(charge - round(charge)) < _ROUNDING:  # parameters that a damaged or shortened file lost
        raise MoleculeError(f"{files[0]}: the net charge is {charge:+.3f} e, no whole number; write it again")
    named = replace(protocol, force_field=(identity(system),))
    notes += [f"simulated with the force field of {', '.join(files)}"]
    quantity = unit.Quantity(positions, unit.nanometer)
    return Molecule(topology, system, quantity, named, notes=tuple(notes), own_force_field=tuple(files))


def solvent_of(system: openmm.System) -> Solvent:
    """Kind of solvent that a System describes."""
    if system.usesPeriodicBoundaryConditions():
        return "explicit"
    return "implicit" if parametrise.implicit_solvent(system) else "vacuum"


def _masses(system: openmm.System) -> list[float]:
    return [system.getParticleMass(i)._value for i in range(system.getNumParticles())]


def _hydrogens(system: openmm.System, topology: app.Topology) -> list[app.topology.Atom]:
    masses = _masses(system)
    return [a for a in topology.atoms() if a.element is app.element.hydrogen and masses[a.index]]


def _free(system: openmm.System, topology: app.Topology) -> bool:
    """Whether a bond to a hydrogen is not constrained."""
    held = {i for k in range(system.getNumConstraints()) for i in system.getConstraintParameters(k)[:2]}
    return any(atom.index not in held for atom in _hydrogens(system, topology))


def _light(system: openmm.System, topology: app.Topology) -> list[app.topology.Atom]:
    """Hydrogens of a solute that were not made heavier."""
    solute = [atom for atom in _hydrogens(system, topology) if atom.residue.name not in WATER]
    return [atom for atom in solute if system.getParticleMass(atom.index)._value < _HEAVY]


def repartition(system: openmm.System, topology: app.Topology, protocol: Protocol) -> list[str]:
    """Make hydrogens of a solute heavier where the time step needs it and their bonds are not free; notes say so.

    The mass comes from the atoms they are bound to, as by OpenMM's `hydrogenMass`; populations do not depend on it.
    """
    light = _light(system, topology)
    if not light or protocol.timestep <= _LIGHT + 1e-12 or protocol.hydrogen_mass < _HEAVY or _free(system, topology):
        return []
    partner = {a: b for pair in topology.bonds() for a, b in (pair, pair[::-1])}
    changed = _masses(system)
    for atom in light:
        heavy = partner.get(atom)
        if heavy is None or heavy.element is app.element.hydrogen:
            return []
        changed[heavy.index] -= protocol.hydrogen_mass - changed[atom.index]
        changed[atom.index] = protocol.hydrogen_mass
    if min(changed[partner[atom].index] for atom in light) < protocol.hydrogen_mass:
        return []
    for index, mass in enumerate(changed):
        system.setParticleMass(index, mass)
    return [
        f"{len(light)} hydrogens made {protocol.hydrogen_mass:g} amu heavy, their mass taken from the atoms that they "
        f"are bound to, for a time step of {protocol.timestep * 1000:g} fs; populations do not depend on masses"
    ]


def check_timestep(system: openmm.System, topology: app.Topology, protocol: Protocol, file: str) -> None:
    """Refuse a time step that the constraints and masses of a System do not allow."""
    longest = _FREE if _free(system, topology) else _LIGHT if _light(system, topology) else _LONGEST
    if protocol.timestep > longest + 1e-12:
        why = "does not constrain bonds to hydrogen" if longest == _FREE else "has hydrogens of 1 amu"
        raise MoleculeError(
            f"{file}: {why}, so that a time step of {protocol.timestep * 1000:g} fs is too long; use `latentmd md` "
            f"with --timestep {longest * 1000:g}fs, or write the System with constraints=HBonds and hydrogenMass=3 amu"
        )


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
    """Topology with the bonds of the file and those only the System has, positions in nm, notes; in file order."""
    text = read_text(source)
    kind = file_format(text)
    try:
        with warnings.catch_warnings(action="ignore"):  # of OpenMM's reader
            file = {"pdb": app.PDBFile, "mmcif": app.PDBxFile}[kind](io.StringIO(text))
    except KeyError:
        raise MoleculeError(f"{source}: no PDB or mmCIF file, which --system goes with") from None
    except Exception as error:
        raise MoleculeError(f"{source}: OpenMM cannot read it ({first_line(error)})") from error
    topology = file.topology
    if topology.getNumAtoms() != system.getNumParticles():
        counts = f"{topology.getNumAtoms()} atoms, the System {system.getNumParticles()} particles"
        raise MoleculeError(f"{source}: has {counts}; give the structure that the System was made of")
    _check_masses(source, topology, system)
    positions = in_nm(file.positions)
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
        raise MoleculeError(f"{source}: bonds {names}, which the System does not: another order of atoms or molecule")
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
    """Pairs of atoms that a System bonds: by harmonic bonds, but longer springs, or constraints of no fixed angle."""
    pairs = set()
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            springs = [force.getBondParameters(k) for k in range(force.getNumBonds())]
            pairs |= {frozenset((i, j)) for i, j, length, _ in springs if length._value <= LONGEST_BOND}
    for k in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(k)
        light = hydrogen[i] + hydrogen[j]
        if light == 0 or (light == 1 and length._value < _TO_HYDROGEN):
            pairs.add(frozenset((i, j)))
    return pairs
