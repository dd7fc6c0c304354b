"""Topologies with a force field (Amber prmtop, GROMACS top, CHARMM psf) and their coordinates, by OpenMM's readers."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from latentmd.arrays import Doubles
from latentmd.molecule.matching import Named, named_atoms, order_difference
from latentmd.systems.names import WATER
from latentmd.systems.parametrise import CUTOFF, with_native_obc2
from latentmd.systems.protocol import InputOptions, MoleculeError, Protocol
from latentmd.systems.readers.columns import read_gro
from latentmd.systems.readers.text import file_format, read_bytes, read_text, zipped
from latentmd.systems.sanity import in_nm
from latentmd.units import first_line

TOPOLOGIES = ("prmtop", "psf", "top")
_CHARMM_CUTOFF, _CHARMM_SWITCH = 1.2, 1.0  # nm, what the CHARMM force field was made with
# Sections that hold energies or particles, of https://manual.gromacs.org/current/reference-manual/topologies, and that
# OpenMM's reader passes over.
_SKIPPED = frozenset(
    "position_restraints distance_restraints dihedral_restraints orientation_restraints angle_restraints "
    "angle_restraints_z polarization water_polarization thole_polarization intermolecular_interactions pairs_nb".split()
)


class GromacsTopology(app.GromacsTopFile):  # type: ignore[misc]
    """A GROMACS topology with what OpenMM's reader left out: entries of `skipped` sections, `switches` that are off."""

    def __init__(self, path: Path, box: unit.Quantity | None) -> None:
        self.skipped: set[str] = set()
        self.switches: set[str] = set()
        self._open: list[str] = []
        super().__init__(str(path), periodicBoxVectors=box)

    def _processLine(self, line: str, file: str) -> None:  # noqa: N802
        text = line.split(";")[0].strip()
        if text.startswith("#if"):
            self._open.append(text)
        elif text.startswith("#else") and self._open:
            self._open[-1] = f"the #else of {self._open[-1]}"
        elif text.startswith("#endif") and self._open:
            self._open.pop()
        super()._processLine(line, file)
        ignored = not all(self._ifStack)
        restraint = "restraint" in text or "posre" in text.lower()
        if ignored and restraint and self._open:
            self.switches.add(self._open[-1])
        elif text and text[0] not in "[#*" and not ignored and self._currentCategory in _SKIPPED:
            self.skipped.add(self._currentCategory)


def read_gromacs(path: Path, box: unit.Quantity | None) -> tuple[GromacsTopology, list[str]]:
    """A topology, and notes on restraints that are switched off in it; terms that would be left out are refused."""
    file = GromacsTopology(path, box)
    if file.skipped:
        names = ", ".join(f"[ {name} ]" for name in sorted(file.skipped))
        raise MoleculeError(
            f"{path}: holds {names}, which OpenMM does not read, so that these energies would be missing; remove them, "
            "or put restraints under #ifdef POSRES"
        )
    switches = " and ".join(sorted(file.switches))
    return file, [f"restraints under {switches} are off"] if switches else []


def _opened(
    kind: str, path: Path, box: unit.Quantity | None, inputs: InputOptions
) -> tuple[app.Topology, Callable[..., openmm.System], list[str]]:
    """Topology of a file, what makes a System of it, and notes."""
    if kind == "prmtop":
        amber = app.AmberPrmtopFile(str(path), periodicBoxVectors=box)
        return amber.topology, amber.createSystem, []
    if kind == "top":
        gromacs, notes = read_gromacs(path, box)
        return gromacs.topology, gromacs.createSystem, notes
    if not inputs.parameters:
        raise MoleculeError(
            f"{path}: a psf file has no parameters; give CHARMM's files with --parameters, repeated, such as "
            "--parameters par_all36m_prot.prm --parameters top_all36_prot.rtf"
        )
    for name in inputs.parameters:
        read_bytes(Path(name))
    charmm = app.CharmmPsfFile(str(path), periodicBoxVectors=box)
    return charmm.topology, partial(charmm.createSystem, app.CharmmParameterSet(*inputs.parameters)), []


_PROGRAMS = {"prmtop": "an Amber prmtop", "top": "a GROMACS topology", "psf": "a CHARMM psf"}


def read_topology(source: Path, protocol: Protocol) -> tuple[app.Topology, openmm.System, Doubles, list[str]]:
    """Topology, System, positions in nm and notes of a prmtop, top or psf file with its coordinates."""
    kind = file_format(read_text(source))
    _check_options(source, kind, protocol.inputs)
    assert protocol.inputs.positions is not None
    place = Path(protocol.inputs.positions)
    coordinates = read_coordinates(place)
    explicit = protocol.solvent == "explicit"
    box = coordinates.box if explicit else None
    if explicit and coordinates.box is None:
        raise MoleculeError(f"{place}: has no periodic box, which --solvent explicit needs; write it with its box")
    with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()):
        # OpenMM's readers warn and print about what they raise, too
        try:
            topology, create, notes = _opened(kind, source, box, protocol.inputs)
        except MoleculeError:
            raise
        except Exception as error:
            raise MoleculeError(f"{source}: cannot be read as {_PROGRAMS[kind]}: {_reason(error)}") from error
        _check_atoms(topology, coordinates, source, place)
        waters = sum(residue.name in WATER for residue in topology.residues())
        if waters and not explicit:
            raise MoleculeError(f"{source}: holds {waters} waters; simulate it with --solvent explicit")
        try:
            options, more = _options(kind, protocol)
            system = create(**options)
        except Exception as error:
            raise MoleculeError(f"{source}: OpenMM cannot make a System of it: {_reason(error)}") from error
    return topology, with_native_obc2(_without_empty(system)), coordinates.positions, notes + more


def _without_empty(system: openmm.System) -> openmm.System:
    """Remove forces without a single term, which OpenMM's reader of psf files leaves."""
    for index in reversed(range(system.getNumForces())):
        force = system.getForce(index)
        bonds = isinstance(force, openmm.HarmonicBondForce) and not force.getNumBonds()
        torsions = isinstance(force, openmm.CustomTorsionForce | openmm.CMAPTorsionForce) and not force.getNumTorsions()
        if bonds or torsions:
            system.removeForce(index)
    return system


def _check_options(source: Path, kind: str, inputs: InputOptions) -> None:
    if zipped(source):
        raise MoleculeError(f"{source}: is zipped; unzip it first, since it may name other files")
    if inputs.positions is None:
        example = {"prmtop": "my.inpcrd", "top": "my.gro", "psf": "my.crd"}[kind]
        raise MoleculeError(f"{source}: {_PROGRAMS[kind]} has no coordinates; add --positions {example}")
    if inputs.parameters and kind != "psf":
        raise MoleculeError(f"{source}: --parameters has a meaning for a CHARMM psf only; leave it out")


def _options(kind: str, protocol: Protocol) -> tuple[dict[str, object], list[str]]:
    """Arguments of createSystem: constrained hydrogens, and the solvent asked for; and a note on it."""
    options: dict[str, object] = {"constraints": app.HBonds, "hydrogenMass": protocol.hydrogen_mass * unit.amu}
    if protocol.solvent == "vacuum":
        return options, []
    if protocol.solvent == "implicit":
        if kind == "top":
            raise MoleculeError("a GROMACS topology has no implicit solvent; add --solvent vacuum, or explicit")
        radii = "the radii of the prmtop" if kind == "prmtop" else "mbondi2 radii"
        return options | {"implicitSolvent": app.OBC2}, [f"implicit solvent OBC2 with {radii}"]
    options |= {"nonbondedMethod": app.PME, "nonbondedCutoff": CUTOFF * unit.nanometer}
    if kind != "psf":
        return options, [f"cutoff of {CUTOFF} nm, PME beyond"]
    reach = {"nonbondedCutoff": _CHARMM_CUTOFF, "switchDistance": _CHARMM_SWITCH}
    options |= {name: length * unit.nanometer for name, length in reach.items()}
    return options, [f"cutoff of {_CHARMM_CUTOFF} nm, switched from {_CHARMM_SWITCH} nm, PME beyond"]


def _reason(error: Exception) -> str:
    text = first_line(error)
    if "#include" in text:
        return f"{text}; set GMXDATA to GROMACS's folder share/gromacs, or copy the file beside the topology"
    return text


def _check_atoms(topology: app.Topology, coordinates: Coordinates, source: Path, place: Path) -> None:
    count, found = topology.getNumAtoms(), len(coordinates.positions)
    if count != found:
        raise MoleculeError(f"{place}: has {found} atoms, {source} has {count}; give the coordinates made with it")
    if coordinates.atoms and (other := order_difference(coordinates.atoms, named_atoms(topology))):
        raise MoleculeError(f"{place}: its atoms are not in the order of {source}: {other}")


EXPECTED = "expected an Amber inpcrd or rst7, CHARMM crd, GRO, PDB or mmCIF file"
_INPCRD = re.compile(r"^\s*\d+(\s+[-+.\dEeDd]+){0,2}\s*$")
_NETCDF = (b"CDF\x01", b"CDF\x02", b"\x89HDF")


@dataclass(frozen=True)
class Coordinates:
    """Positions [atoms, 3] in nm, what the file says of the atoms (empty where only numbers) and the periodic box."""

    positions: Doubles
    atoms: tuple[Named, ...] = ()
    box: unit.Quantity | None = None


def read_coordinates(path: Path) -> Coordinates:
    """Read coordinates from a file of any of the formats, told apart by content."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of OpenMM's readers, about chains and elements
            found = _read(path)
    except MoleculeError:
        raise
    except Exception as error:
        raise MoleculeError(f"{path}: coordinates cannot be read ({first_line(error)}); {EXPECTED}") from error
    if not np.isfinite(found.positions).all():
        raise MoleculeError(f"{path}: coordinates of an atom are not finite; correct the file")
    return found


def _read(path: Path) -> Coordinates:
    def inpcrd() -> Coordinates:
        file = app.AmberInpcrdFile(str(path))
        return Coordinates(in_nm(file.positions), (), file.boxVectors)

    if read_bytes(path)[:4] in _NETCDF:
        return inpcrd()
    text = read_text(path)
    kind = file_format(text)
    if kind == "gro":
        records = read_gro(text, path)
        gro = app.GromacsGroFile(str(path)) if records.cell else None
        atoms = (Named(0, f"{a.residue}{a.key[1]}-{a.name}", a.name, "") for a in records.atoms)
        box = gro.getPeriodicBoxVectors() if gro else None
        return Coordinates(in_nm([atom.position for atom in records.atoms]), tuple(atoms), box)
    if kind in ("pdb", "mmcif"):
        file = app.PDBFile(io.StringIO(text)) if kind == "pdb" else app.PDBxFile(io.StringIO(text))
        box = file.topology.getPeriodicBoxVectors()
        return Coordinates(in_nm(file.positions), tuple(named_atoms(file.topology)), box)
    lines = [line for line in text.split("\n") if not line.startswith("*")]
    if text.startswith("*") and lines and "".join(lines[0].split()[:1]).isdecimal():
        crd = app.CharmmCrdFile(str(path))
        labels = zip(crd.resname, crd.resno, crd.attype, strict=True)
        atoms = (Named(0, f"{residue}{number}-{name}", str(name), "") for residue, number, name in labels)
        return Coordinates(in_nm(crd.positions), tuple(atoms))
    if len(text.split("\n")) > 2 and _INPCRD.match(text.split("\n")[1]):
        return inpcrd()
    raise MoleculeError(f"{path}: holds no coordinates that can be read; {EXPECTED}")
