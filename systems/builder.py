"""PDB file → OpenMM System: repair, parametrise, choose the platform."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import openmm
from openmm import app, unit

Solvent = Literal["implicit", "vacuum", "explicit"]

#: Force-field files per kind of solvent, used where the user names none.
DEFAULT_FORCE_FIELDS: dict[Solvent, tuple[str, ...]] = {
    "implicit": ("amber14/protein.ff14SB.xml", "implicit/obc2.xml"),
    "vacuum": ("amber14/protein.ff14SB.xml",),
    "explicit": ("amber14-all.xml", "amber14/tip3p.xml"),
}

_OBC_OFFSET = 0.009  # nm, Onufriev, Bashford & Case, Proteins 55, 383 (2004)
_TIMING_SECONDS = 0.15  # per platform, enough for 1 % at the speeds that matter


class SystemError_(ValueError):
    """A molecule that cannot be turned into an OpenMM System; the message says what to do."""


@dataclass(frozen=True)
class Protocol:
    """Simulation protocol: what the training data of the bundled models was made with.

    Attributes:
        solvent: "implicit" (OBC2), "vacuum" or "explicit" (the PDB brings the water and a unit cell).
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
        return self.force_field or DEFAULT_FORCE_FIELDS[self.solvent]


@dataclass(frozen=True)
class Molecule:
    """A parametrised molecule: topology, OpenMM System and starting positions (nm, shape (atoms, 3))."""

    topology: app.Topology
    system: openmm.System
    positions: Any
    protocol: Protocol
    added: tuple[str, ...] = field(default=())

    def context(
        self, integrator: openmm.Integrator, platform: str | None = None, threads: int | None = None
    ) -> openmm.Context:
        """A Context at the starting positions, on the named platform or the fastest one."""
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


def build(pdb: str | Path, protocol: Protocol = Protocol()) -> Molecule:
    """Repair a PDB file and parametrise it.

    Missing heavy atoms and hydrogens are added with PDBFixer at pH 7 and listed in `Molecule.added`. An implicit
    OBC2 model is rebuilt on the native `GBSAOBCForce`, the same energy over 30 times faster for small molecules.

    Args:
        pdb: path of the PDB file.
        protocol: solvent, force field, temperature, friction, time step and hydrogen mass.

    Raises:
        SystemError_: the file is missing, empty or unreadable, or the force field has no template for a residue.
    """
    topology, positions, added = _repair(Path(pdb))
    system = _parametrise(topology, protocol, str(pdb))
    if protocol.solvent == "implicit":
        system = with_native_obc2(system)
    return Molecule(topology, system, positions, protocol, tuple(added))


def _repair(pdb: Path) -> tuple[app.Topology, Any, list[str]]:
    from pdbfixer import PDBFixer

    if not pdb.is_file():
        raise SystemError_(f"{pdb}: no such file; expected a PDB file")
    if pdb.stat().st_size == 0:
        raise SystemError_(f"{pdb}: the file is empty; expected a PDB file with ATOM records")
    try:
        fixer = PDBFixer(filename=str(pdb))
    except Exception as error:
        raise SystemError_(f"{pdb}: not a readable PDB file ({error}); expected ATOM records") from error
    if fixer.topology.getNumAtoms() == 0:
        raise SystemError_(f"{pdb}: no ATOM records found; expected a PDB file with at least one molecule")
    before = {_label(atom) for atom in fixer.topology.atoms()}
    fixer.missingResidues = {}
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=1)
    if any(_needs_hydrogens(fixer.topology)):
        fixer.addMissingHydrogens(7.0)
    added = [_label(atom) for atom in fixer.topology.atoms() if _label(atom) not in before]
    return fixer.topology, fixer.positions, added


def _label(atom: app.topology.Atom) -> str:
    residue = atom.residue
    return f"{residue.name}{residue.id}:{atom.name}"


def _needs_hydrogens(topology: app.Topology) -> list[bool]:
    """One entry per residue: whether it holds no hydrogen although it holds heavy atoms."""
    hydrogen = app.element.hydrogen
    return [all(atom.element != hydrogen for atom in residue.atoms()) for residue in topology.residues()]


def _parametrise(topology: app.Topology, protocol: Protocol, source: str) -> openmm.System:
    files = protocol.force_field_files
    try:
        force_field = app.ForceField(*files)
    except Exception as error:
        raise SystemError_(f"force field {', '.join(files)}: {error}; expected OpenMM force-field XML") from error
    periodic = protocol.solvent == "explicit"
    if periodic and topology.getPeriodicBoxVectors() is None:
        raise SystemError_(f"{source}: explicit solvent needs a unit cell; add a CRYST1 record or use --solvent implicit")
    try:
        return force_field.createSystem(
            topology,
            nonbondedMethod=app.PME if periodic else app.NoCutoff,
            constraints=app.HBonds,
            hydrogenMass=protocol.hydrogen_mass * unit.amu,
        )
    except Exception as error:
        raise SystemError_(
            f"{source}: {error} Expected residues that {', '.join(files)} describes; "
            "pass a force-field XML for this molecule with --force-field"
        ) from error


def with_native_obc2(system: openmm.System) -> openmm.System:
    """Replace the CustomGBForce of `implicit/obc2.xml` by the native GBSAOBCForce, where both are the same model.

    The custom force stores `or` = radius − 0.009 nm and `sr` = scale · or (Onufriev, Bashford & Case 2004), so
    radius = or + 0.009 and scale = sr / or. A System whose GB expressions differ is returned unchanged.
    """
    reference = _obc2_signature()
    for index, force in enumerate(system.getForces()):
        if isinstance(force, openmm.CustomGBForce) and _signature(force) == reference:
            native = _native_obc2(force)
            system.removeForce(index)
            system.addForce(native)
            return system
    return system


def _signature(force: openmm.CustomGBForce) -> list[Any]:
    values = [force.getComputedValueParameters(i) for i in range(force.getNumComputedValues())]
    terms = [force.getEnergyTermParameters(i) for i in range(force.getNumEnergyTerms())]
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    return [values, terms, names, force.getNumGlobalParameters(), force.getNonbondedMethod()]


def _obc2_signature() -> list[Any]:
    from openmm.app.internal.customgbforces import GBSAOBC2Force

    force = GBSAOBC2Force(SA="ACE")
    force.addParticle([0.0, 0.15, 0.8])
    force.finalize()
    return _signature(force)


def _native_obc2(custom: openmm.CustomGBForce) -> openmm.GBSAOBCForce:
    native = openmm.GBSAOBCForce()
    native.setSolventDielectric(78.5)
    native.setSoluteDielectric(1.0)
    native.setNonbondedMethod(openmm.GBSAOBCForce.NoCutoff)
    for i in range(custom.getNumParticles()):
        charge, offset_radius, scaled = custom.getParticleParameters(i)
        native.addParticle(charge, offset_radius + _OBC_OFFSET, scaled / offset_radius)
    return native


def platforms(names: Sequence[str] = ("CUDA", "HIP", "OpenCL", "Reference", "CPU")) -> list[str]:
    """Names of the OpenMM platforms of this machine, in the order of preference when equally fast."""
    present = {openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())}
    return [name for name in names if name in present]


def time_platform(molecule: Molecule, name: str, seconds: float = _TIMING_SECONDS) -> float:
    """Plain MD steps per second of wall time on one platform; 0.0 where a Context cannot be made there."""
    try:
        context = molecule.context(molecule.langevin(1), name)
        context.getIntegrator().step(5)
    except openmm.OpenMMException:
        return 0.0
    steps, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        context.getIntegrator().step(10)
        context.getState()  # waits for asynchronous platforms
        steps += 10
    return steps / elapsed


def fastest_platform(molecule: Molecule) -> str:
    """The platform with most steps per second for this molecule, by a timing of a fraction of a second each."""
    rates = {name: time_platform(molecule, name) for name in platforms()}
    return max(rates, key=lambda name: rates[name])
