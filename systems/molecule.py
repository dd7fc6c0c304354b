"""A parametrised molecule, and the OpenMM platform on which it is simulated fastest, by a short timing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import openmm
from openmm import app, unit

from latentmd.arrays import Doubles
from latentmd.systems.protocol import MoleculeError, Protocol

_TIMING_SECONDS = 0.15  # per platform, enough to tell them apart
_PREFERENCE = ("CUDA", "HIP", "OpenCL", "Reference", "CPU")
_REFERENCE = 500  # atoms beyond which the Reference platform is never the fastest, and slow to show it


@dataclass(frozen=True)
class Molecule:
    """A parametrised molecule.

    Attributes:
        topology: of all atoms, solvent included.
        system: OpenMM System.
        positions: starting positions, a Quantity of shape (atoms, 3).
        protocol: what it was built with.
        added: labels of the atoms that the file lacked, such as "A:ALA2:HB1", and of added solvent.
        notes: what was chosen where the file left a choice, one sentence each.
        own_force_field: files of a force field that came with the molecule; empty where latentmd assigned one.
        ligand: MOL block of a small molecule that RDKit read; empty of others.
    """

    topology: app.Topology
    system: openmm.System
    positions: unit.Quantity
    protocol: Protocol
    added: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    own_force_field: tuple[str, ...] = field(default=())
    ligand: str = ""

    def __repr__(self) -> str:
        solvent, files = self.protocol.solvent, ", ".join(self.own_force_field or self.protocol.force_field_files)
        return f"<Molecule of {self.topology.getNumAtoms()} atoms, {files}, {solvent} solvent>"

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

    def box(self) -> Doubles | None:
        """Periodic box vectors in nm, shape (3, 3); None where the System is not periodic."""
        if not self.system.usesPeriodicBoundaryConditions():
            return None
        vectors = self.system.getDefaultPeriodicBoxVectors()
        return np.array([list(vector.value_in_unit(unit.nanometer)) for vector in vectors], dtype=np.float64)


def platforms(names: Sequence[str] = _PREFERENCE) -> list[str]:
    """Names of the OpenMM platforms of this machine, in the order of preference when equally fast."""
    present = {openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())}
    return [name for name in names if name in present]


def time_platform(molecule: Molecule, name: str, seconds: float = _TIMING_SECONDS, threads: int | None = None) -> float:
    """Plain MD steps per second of wall time on one platform; 0.0 where it cannot be simulated there."""
    try:
        context = molecule.context(molecule.langevin(1), name, threads)
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=20)
        context.getIntegrator().step(5)
        steps, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            context.getIntegrator().step(10)
            context.getState()  # waits for asynchronous platforms
            steps += 10
    except openmm.OpenMMException:
        return 0.0
    return steps / elapsed


def platform_rates(molecule: Molecule, threads: int | None = None) -> dict[str, float]:
    """Steps per second of wall time on every platform of this machine, by a timing of a fraction of a second each."""
    large = molecule.topology.getNumAtoms() > _REFERENCE
    names = [name for name in platforms() if not (large and name == "Reference")]
    rates = {name: time_platform(molecule, name, threads=threads) for name in names}
    if not any(rates.values()):
        raise MoleculeError("MD fails from this structure on every platform: atoms are too close, or bonds strained")
    return rates


def fastest_platform(molecule: Molecule, threads: int | None = None) -> str:
    """The platform with most steps per second for this molecule."""
    rates = platform_rates(molecule, threads)
    return max(rates, key=lambda name: rates[name])
