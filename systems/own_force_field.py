"""Molecules that bring their own force field: Amber prmtop, GROMACS top, CHARMM psf, or an OpenMM System as XML.

OpenMM's own readers make the System; nothing is added to the molecule and nothing renamed.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from latentmd.io.atomic import write_text
from latentmd.molecule.order import named_atoms, order_difference
from latentmd.systems.ensemble import barostat_fault, thermostat_fault
from latentmd.systems.errors import MoleculeError, first_line
from latentmd.systems.masses import check_timestep, repartition
from latentmd.systems.molecule import Molecule
from latentmd.systems.names import WATER
from latentmd.systems.parametrise import implicit_solvent, radius_fault, with_native_obc2
from latentmd.systems.protocol import SYSTEM_FILE, InputOptions, Protocol, Solvent
from latentmd.systems.readers.coordinates import Coordinates, read_coordinates
from latentmd.systems.readers.gromacs import read_gromacs
from latentmd.systems.readers.text import file_format, read_bytes, read_text, zipped
from latentmd.systems.sanity import check_bonds
from latentmd.systems.system_xml import read_system, structure_of

TOPOLOGIES = ("prmtop", "psf", "top")
_PREFIX = "system:"  # begins the identity of a force field that is no list of OpenMM XML files
_CUTOFF = 1.0  # nm, explicit solvent
_CHARMM_CUTOFF, _CHARMM_SWITCH = 1.2, 1.0  # nm, what the CHARMM force field was made with
_ROUNDING = 0.02  # e, of charges with four digits, all atoms together


def brings_force_field(source: Path, inputs: InputOptions) -> bool:
    """Whether a molecule's files bring their own force field.

    Raises:
        MoleculeError: the file cannot be read.
    """
    return inputs.system is not None or file_format(read_text(source)) in TOPOLOGIES


def is_own(force_field: tuple[str, ...] | list[str]) -> bool:
    """Whether the force field of a protocol or manifest came with a molecule, and is no list of OpenMM XML files."""
    return any(name.startswith(_PREFIX) for name in force_field)


def identity(system: openmm.System) -> str:
    """Name of a force field as one molecule has it: a hash of the whole System, constraints and masses included."""
    digest = hashlib.sha256(openmm.XmlSerializer.serialize(system).encode()).hexdigest()
    return f"{_PREFIX}{digest[:16]}"


def inputs_beside(top: Path) -> InputOptions:
    """Options under which a run's topology.pdb gets the force field of the run: its system.xml, if there is one."""
    path = top.with_name(SYSTEM_FILE)
    return InputOptions(system=str(path)) if path.is_file() else InputOptions()


def write_system(molecule: Molecule, folder: Path) -> None:
    """Write the System of a molecule with its own force field beside its topology.pdb, for training and evaluation."""
    if molecule.own_force_field:
        write_text(folder / SYSTEM_FILE, openmm.XmlSerializer.serialize(molecule.system))


def build_own(source: Path, protocol: Protocol) -> Molecule:
    """Molecule with the force field that its files bring.

    Args:
        source: prmtop, psf or top file, or a structure for `protocol.inputs.system`.
        protocol: as asked for; its `inputs` name the other files. The molecule's own has the identity of the force
            field in place of a list of XML files.

    Raises:
        MoleculeError: files are missing, damaged or do not belong together, or the solvent is another.
    """
    inputs = protocol.inputs
    _refuse_structure_options(inputs)
    if inputs.system is not None:
        if inputs.positions or inputs.parameters:
            raise MoleculeError(f"{source}: --positions and --parameters have no meaning with --system; leave them out")
        system = with_native_obc2(read_system(Path(inputs.system)))
        if fault := thermostat_fault(system) or barostat_fault(system):
            raise MoleculeError(f"{inputs.system}: {fault}")
        topology, positions, notes = structure_of(source, system)
        files = [inputs.system]
    else:
        topology, system, positions, notes = _from_topology(source, protocol)
        files = [str(source), *inputs.parameters]
    check_bonds(topology, positions)
    _check_places(topology, positions, source)
    notes += repartition(system, topology, protocol)
    _check_solvent(system, protocol, files[0])
    if fault := radius_fault(system):
        raise MoleculeError(f"{files[0]}: {fault}")
    check_timestep(system, topology, protocol, files[0])
    _check_charge(system, files[0])
    named = replace(protocol, force_field=(identity(system),))
    notes += [f"simulated with the force field of {', '.join(files)}"]
    quantity = unit.Quantity(positions, unit.nanometer)
    return Molecule(topology, system, quantity, named, notes=tuple(notes), own_force_field=tuple(files))


def _refuse_structure_options(inputs: InputOptions) -> None:
    default = InputOptions()
    for name in ("ph", "model_number", "altloc", "missing", "ends"):
        if getattr(inputs, name) != getattr(default, name):
            option = name.replace("_", "-")
            raise MoleculeError(
                f"--{option} has no meaning for a molecule with its own force field, which is taken as it is; "
                "leave it out"
            )


_Read = tuple[app.Topology, Callable[..., openmm.System], list[str]]  # the last: notes


@dataclass(frozen=True)
class _Reader:
    """How a kind of topology file is read: with the box, and what makes the System of it."""

    program: str
    read: Callable[[Path, Any, InputOptions], _Read]


def _amber(path: Path, box: Any, _: InputOptions) -> _Read:
    file = app.AmberPrmtopFile(str(path), periodicBoxVectors=box)
    return file.topology, file.createSystem, []


def _gromacs(path: Path, box: Any, _: InputOptions) -> _Read:
    file, notes = read_gromacs(path, box)
    return file.topology, file.createSystem, notes


def _charmm(path: Path, box: Any, inputs: InputOptions) -> _Read:
    if not inputs.parameters:
        raise MoleculeError(
            f"{path}: a psf file has no parameters; give CHARMM's files with --parameters, repeated, such as "
            "--parameters par_all36m_prot.prm --parameters top_all36_prot.rtf"
        )
    for name in inputs.parameters:
        read_bytes(Path(name))
    file = app.CharmmPsfFile(str(path), periodicBoxVectors=box)
    parameters = app.CharmmParameterSet(*inputs.parameters)

    def create(**options: Any) -> openmm.System:
        return file.createSystem(parameters, **options)

    return file.topology, create, []


_READERS = {
    "prmtop": _Reader("an Amber prmtop", _amber),
    "top": _Reader("a GROMACS topology", _gromacs),
    "psf": _Reader("a CHARMM psf", _charmm),
}


def _from_topology(source: Path, protocol: Protocol) -> tuple[app.Topology, openmm.System, Any, list[str]]:
    """Topology, System, positions in nm and notes of a prmtop, top or psf file."""
    kind = file_format(read_text(source))
    _check_options(source, kind, protocol.inputs)
    assert protocol.inputs.positions is not None
    place = Path(protocol.inputs.positions)
    coordinates = read_coordinates(place)
    explicit = protocol.solvent == "explicit"
    if explicit and coordinates.box is None:
        raise MoleculeError(f"{place}: has no periodic box, which --solvent explicit needs; write it with its box")
    reader = _READERS[kind]
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # OpenMM's readers warn and print about what they raise, too
        try:
            topology, create, notes = reader.read(source, coordinates.box if explicit else None, protocol.inputs)
        except MoleculeError:
            raise
        except Exception as error:
            raise MoleculeError(f"{source}: cannot be read as {reader.program}: {_reason(error)}") from error
        _check_atoms(topology, coordinates, source, place)
        waters = sum(residue.name in WATER for residue in topology.residues())
        if waters and not explicit:
            raise MoleculeError(f"{source}: holds {waters} waters; simulate it with --solvent explicit")
        try:
            system = create(**_options(kind, protocol))
        except Exception as error:
            raise MoleculeError(f"{source}: OpenMM cannot make a System of it: {_reason(error)}") from error
    return topology, with_native_obc2(_without_empty(system)), coordinates.positions, notes + _notes(kind, protocol)


def _without_empty(system: openmm.System) -> openmm.System:
    """Remove forces without a single term, which OpenMM's reader of psf files leaves."""
    for index in reversed(range(system.getNumForces())):
        force = system.getForce(index)
        terms = {openmm.HarmonicBondForce: "Bonds", openmm.CustomTorsionForce: "Torsions",
                 openmm.CMAPTorsionForce: "Torsions"}.get(type(force))  # fmt: skip
        if terms and not getattr(force, f"getNum{terms}")():
            system.removeForce(index)
    return system


def _check_options(source: Path, kind: str, inputs: InputOptions) -> None:
    if zipped(source):
        raise MoleculeError(f"{source}: is zipped; unzip it first, since it may name other files")
    if inputs.positions is None:
        example = {"prmtop": "my.inpcrd", "top": "my.gro", "psf": "my.crd"}[kind]
        raise MoleculeError(f"{source}: {_READERS[kind].program} has no coordinates; add --positions {example}")
    if inputs.parameters and kind != "psf":
        raise MoleculeError(f"{source}: --parameters has a meaning for a CHARMM psf only; leave it out")


def _options(kind: str, protocol: Protocol) -> dict[str, Any]:
    """Arguments of createSystem: constrained hydrogens, and the solvent asked for."""
    options: dict[str, Any] = {
        "constraints": app.HBonds, "hydrogenMass": protocol.hydrogen_mass * unit.amu, "nonbondedMethod": app.NoCutoff,
    }  # fmt: skip
    if protocol.solvent == "explicit":
        charmm = kind == "psf"
        cutoff = _CHARMM_CUTOFF if charmm else _CUTOFF
        options |= {"nonbondedMethod": app.PME, "nonbondedCutoff": cutoff * unit.nanometer}
        if charmm:
            options["switchDistance"] = _CHARMM_SWITCH * unit.nanometer
    if protocol.solvent == "implicit":
        if kind == "top":
            raise MoleculeError("a GROMACS topology has no implicit solvent; add --solvent vacuum, or explicit")
        options["implicitSolvent"] = app.OBC2
    return options


def _notes(kind: str, protocol: Protocol) -> list[str]:
    if protocol.solvent == "explicit":
        reach = f"{_CHARMM_CUTOFF} nm, switched from {_CHARMM_SWITCH} nm" if kind == "psf" else f"{_CUTOFF} nm"
        return [f"cutoff of {reach}, PME beyond"]
    radii = {"prmtop": " with the radii of the prmtop", "psf": " with mbondi2 radii"}[kind] if kind != "top" else ""
    return [f"implicit solvent OBC2{radii}"] if protocol.solvent == "implicit" else []


def _reason(error: Exception) -> str:
    text = first_line(error)
    if "#include" in text:
        return f"{text}; set GMXDATA to GROMACS's folder share/gromacs, or copy the file beside the topology"
    return text


def _check_atoms(topology: app.Topology, coordinates: Coordinates, source: Path, place: Path) -> None:
    count, found = topology.getNumAtoms(), len(coordinates.positions)
    if count != found:
        raise MoleculeError(f"{place}: has {found} atoms, {source} has {count}; give the coordinates made with it")
    if coordinates.atoms:
        other = order_difference(coordinates.atoms, named_atoms(topology))
        if other:
            raise MoleculeError(f"{place}: its atoms are not in the order of {source}: {other}")


def _check_places(topology: app.Topology, positions: Any, source: Path) -> None:
    """Refuse coordinates that are all alike or put two atoms in one place."""
    xyz = np.asarray(positions, dtype=np.float64)
    if len(xyz) > 1 and np.ptp(xyz, axis=0).max() < 1e-6:
        raise MoleculeError(f"{source}: all {len(xyz)} atoms are at one point; the file holds no coordinates")
    if not topology.getNumBonds() and topology.getNumAtoms() > 1:
        raise MoleculeError(f"{source}: neither the topology nor the System has any bonds; add CONECT records")


def _check_charge(system: openmm.System, file: str) -> None:
    """Refuse a net charge that is no whole number: parameters that a damaged or shortened file lost."""
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            charges = (force.getParticleParameters(i)[0]._value for i in range(force.getNumParticles()))
            total = sum(charges)
            if not abs(total - round(total)) < _ROUNDING:
                raise MoleculeError(f"{file}: the net charge is {total:+.3f} e, no whole number; write it again")


def _check_solvent(system: openmm.System, protocol: Protocol, file: str) -> None:
    """Refuse a System in another solvent than asked for."""
    kind = solvent_of(system)
    if kind != protocol.solvent:
        what = {"vacuum": "no solvent", "explicit": "a periodic box", "implicit": "implicit solvent"}[kind]
        raise MoleculeError(f"{file}: describes {what}, not --solvent {protocol.solvent}; add --solvent {kind}")


def solvent_of(system: openmm.System) -> Solvent:
    """Kind of solvent that a System describes."""
    if system.usesPeriodicBoundaryConditions():
        return "explicit"
    return "implicit" if implicit_solvent(system) else "vacuum"
