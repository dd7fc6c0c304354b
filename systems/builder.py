"""PDB file → OpenMM System: repair, parametrise."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openmm
from openmm import app, unit

from latentmd.systems.implicit import implicit_solvent, with_native_obc2
from latentmd.systems.platforms import fastest_platform

Solvent = Literal["implicit", "vacuum", "explicit"]

#: Force-field files per kind of solvent, used where the user names none.
DEFAULT_FORCE_FIELDS: dict[Solvent, tuple[str, ...]] = {
    "implicit": ("amber14/protein.ff14SB.xml", "implicit/obc2.xml"),
    "vacuum": ("amber14/protein.ff14SB.xml",),
    "explicit": ("amber14-all.xml", "amber14/tip3p.xml"),
}

WATER = ("HOH", "WAT", "TIP3", "SOL")
_PADDING = 1.0  # nm of water around a solute that comes without
_CUTOFF = 1.0  # nm, explicit solvent
_PH = 7.0
_SMALL = 1000  # atoms; larger molecules are repaired on the fastest platform instead


class MoleculeError(ValueError):
    """A molecule that cannot be turned into an OpenMM System; the message says what to do."""


@dataclass(frozen=True)
class Protocol:
    """Simulation protocol: what the training data of the bundled models was made with.

    Attributes:
        solvent: "implicit" (OBC2), "vacuum" or "explicit" (water from the PDB, or added where it has none).
        force_field: OpenMM force-field XML names or paths; empty for the default of the solvent.
        temperature: kelvin.
        friction: 1/ps.
        timestep: ps.
        hydrogen_mass: amu.
    """

    solvent: Solvent = "implicit"
    force_field: tuple[str, ...] = ()
    temperature: float = 350.0
    friction: float = 1.0
    timestep: float = 0.004
    hydrogen_mass: float = 3.0

    @property
    def force_field_files(self) -> tuple[str, ...]:
        """The force-field files in use."""
        return self.force_field or DEFAULT_FORCE_FIELDS[self.solvent]


@dataclass(frozen=True)
class Molecule:
    """A parametrised molecule.

    Attributes:
        topology: of all atoms, solvent included.
        system: OpenMM System.
        positions: starting positions, a Quantity of shape (atoms, 3).
        protocol: what it was built with.
        added: labels of the atoms that the PDB file lacked, such as "A:ALA2:HB1", and of added solvent.
    """

    topology: app.Topology
    system: openmm.System
    positions: Any
    protocol: Protocol
    added: tuple[str, ...] = field(default=())

    def context(
        self, integrator: openmm.Integrator, platform: str | None = None, threads: int | None = None
    ) -> openmm.Context:
        """A Context at the starting positions, on the named platform or the fastest one.

        Args:
            integrator: a new integrator.
            platform: name of an OpenMM platform.
            threads: threads of the CPU platform.
        """
        name = platform or fastest_platform(self)
        properties = {"Threads": str(threads)} if name == "CPU" and threads else {}
        context = openmm.Context(self.system, integrator, openmm.Platform.getPlatformByName(name), properties)
        if self.system.usesPeriodicBoundaryConditions():
            context.setPeriodicBoxVectors(*self.system.getDefaultPeriodicBoxVectors())
        context.setPositions(self.positions)
        return context

    def langevin(self, seed: int) -> openmm.LangevinMiddleIntegrator:
        """The protocol's thermostat, seeded (OpenMM takes a seed of 0 for "draw one", so 0 is moved)."""
        p = self.protocol
        integrator = openmm.LangevinMiddleIntegrator(
            p.temperature * unit.kelvin, p.friction / unit.picosecond, p.timestep * unit.picosecond
        )
        integrator.setRandomNumberSeed(seed % (2**31 - 2) + 1)
        return integrator

    def box(self) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """Periodic box vectors in nm, shape (3, 3); None where the System is not periodic."""
        if not self.system.usesPeriodicBoundaryConditions():
            return None
        vectors = self.system.getDefaultPeriodicBoxVectors()
        return np.array([list(vector.value_in_unit(unit.nanometer)) for vector in vectors], dtype=np.float64)


def build(pdb: str | Path, protocol: Protocol = Protocol()) -> Molecule:
    """Repair a PDB file and parametrise it.

    Missing heavy atoms and hydrogens are added with PDBFixer at pH 7 and listed in `Molecule.added`; hydrogens only
    where a residue has none or the force field does not know it as it is. Everything else, heterogens included,
    stays as it is. An implicit OBC2 model is rebuilt on the native `GBSAOBCForce`, the same energy over 30 times
    faster for small molecules.

    Args:
        pdb: path of the PDB file.
        protocol: solvent, force field, temperature, friction, time step and hydrogen mass.

    Raises:
        MoleculeError: the file is missing, empty or unreadable, has non-finite coordinates, or holds residues that the
            force field does not describe.
    """
    path = Path(pdb)
    fixer = _read(path)
    force_field = _force_field(protocol)
    before = {_label(atom) for atom in fixer.topology.atoms()}
    with _repeatable():
        topology, positions = _repair(fixer, force_field)
        added = [_label(atom) for atom in topology.atoms() if _label(atom) not in before]
        _refuse_unknown(topology, force_field, protocol, path)
        if protocol.solvent == "explicit":
            topology, positions, note = _solvated(topology, positions, force_field)
            added += note
    system = _parametrise(topology, force_field, protocol, path)
    return Molecule(topology, system, positions, protocol, tuple(added))


def _read(pdb: Path) -> Any:
    from pdbfixer import PDBFixer

    expected = "expected a PDB file with ATOM records"
    if not pdb.exists():
        raise MoleculeError(f"{pdb}: no such file; {expected} (`latentmd systems` lists the bundled ones)")
    if not pdb.is_file():
        raise MoleculeError(f"{pdb}: not a file; {expected}")
    if pdb.stat().st_size == 0:
        raise MoleculeError(f"{pdb}: the file is empty; {expected}")
    if not os.access(pdb, os.R_OK):
        raise MoleculeError(f"{pdb}: not readable; check its permissions")
    try:
        text = pdb.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise MoleculeError(f"{pdb}: not a text file; {expected}") from error
    records = sum(line.startswith(("ATOM", "HETATM")) for line in text.splitlines())
    if records == 0:
        raise MoleculeError(f"{pdb}: no ATOM records found; {expected}")
    try:
        fixer = PDBFixer(pdbfile=io.StringIO(text), platform=_repeatable_platform(records))
    except Exception as error:  # the parser raises whatever its assertions and indices do
        raise MoleculeError(f"{pdb}: not a readable PDB file ({_first_line(error)}); {expected}") from error
    xyz = np.array(fixer.positions.value_in_unit(unit.nanometer), dtype=np.float64)
    if not np.all(np.isfinite(xyz)):
        atom = list(fixer.topology.atoms())[int(np.argwhere(~np.isfinite(xyz))[0, 0])]
        raise MoleculeError(f"{pdb}: coordinates of atom {_label(atom)} are not finite; correct the file")
    return fixer


def _force_field(protocol: Protocol) -> app.ForceField:
    files = protocol.force_field_files
    try:
        return app.ForceField(*files)
    except Exception as error:
        raise MoleculeError(
            f"force field {', '.join(files)} cannot be read ({_first_line(error)}); "
            "expected names or paths of OpenMM force-field XML files"
        ) from error


def _repeatable_platform(atoms: int) -> openmm.Platform | None:
    """Added atoms are placed by minimisation; on one thread it gives the same positions every time."""
    return openmm.Platform.getPlatformByName("Reference") if atoms <= _SMALL else None


@contextmanager
def _repeatable() -> Iterator[None]:
    """PDBFixer and Modeller draw from global generators: seed them, and put them back as they were."""
    states = random.getstate(), np.random.get_state()
    random.seed(1)
    np.random.seed(1)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _repair(fixer: Any, force_field: app.ForceField) -> tuple[app.Topology, Any]:
    fixer.missingResidues = {}
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=1)
    hydrogen = app.element.hydrogen
    bare = any(all(atom.element != hydrogen for atom in residue.atoms()) for residue in fixer.topology.residues())
    if bare or force_field.getUnmatchedResidues(fixer.topology):
        fixer.addMissingHydrogens(_PH)
    return fixer.topology, fixer.positions


def _label(atom: app.topology.Atom) -> str:
    residue = atom.residue
    return f"{residue.chain.id}:{residue.name}{residue.id}:{atom.name}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _refuse_unknown(topology: app.Topology, force_field: app.ForceField, protocol: Protocol, source: Path) -> None:
    unmatched = force_field.getUnmatchedResidues(topology)
    if not unmatched:
        return
    names = sorted({f"{residue.name} ({residue.chain.id}:{residue.id})" for residue in unmatched})
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    if all(residue.name in WATER for residue in unmatched) and protocol.solvent != "explicit":
        advice = "remove the water, or simulate it with --solvent explicit"
    else:
        advice = "remove them, complete them, or describe them with --force-field FILE.xml"
    raise MoleculeError(
        f"{source}: unknown residues {shown}; expected residues, with all their atoms and bonds, "
        f"that {', '.join(protocol.force_field_files)} describes: {advice}"
    )


def _solvated(
    topology: app.Topology, positions: Any, force_field: app.ForceField
) -> tuple[app.Topology, Any, list[str]]:
    """A box of water around a solute that comes without; a PDB file that brings water must bring its cell too."""
    waters = sum(residue.name in WATER for residue in topology.residues())
    if waters:
        if topology.getPeriodicBoxVectors() is None:
            raise MoleculeError("the PDB file has water but no unit cell; add a CRYST1 record, or remove the water")
        return topology, positions, []
    modeller = app.Modeller(topology, positions)
    modeller.addSolvent(force_field, padding=_PADDING * unit.nanometer)
    residues = [residue.name for residue in modeller.topology.residues()][topology.getNumResidues() :]
    counts = ", ".join(f"{residues.count(name)} {name}" for name in sorted(set(residues)))
    return modeller.topology, modeller.positions, [f"solvent: {counts}"]


def _parametrise(
    topology: app.Topology, force_field: app.ForceField, protocol: Protocol, source: Path
) -> openmm.System:
    files = ", ".join(protocol.force_field_files)
    periodic = protocol.solvent == "explicit"
    options: dict[str, Any] = {"nonbondedMethod": app.NoCutoff}
    if periodic:
        options = {"nonbondedMethod": app.PME, "nonbondedCutoff": _CUTOFF * unit.nanometer}
    try:
        system = force_field.createSystem(
            topology, constraints=app.HBonds, hydrogenMass=protocol.hydrogen_mass * unit.amu, **options
        )
    except Exception as error:
        raise MoleculeError(f"{source}: {files} cannot describe it: {_first_line(error)}") from error
    found = implicit_solvent(system)
    if protocol.solvent == "implicit" and not found:
        raise MoleculeError(
            f"force field {files} has no implicit solvent; add --force-field implicit/obc2.xml, or use --solvent vacuum"
        )
    if protocol.solvent != "implicit" and found:
        raise MoleculeError(f"force field {files} brings implicit solvent; use --solvent implicit, or leave it out")
    return with_native_obc2(system)
