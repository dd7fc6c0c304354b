"""A parametrised molecule: topology, System, positions, and what was chosen on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from latentmd.arrays import Doubles
from latentmd.systems.platforms import fastest_platform
from latentmd.systems.protocol import Protocol


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
    """

    topology: app.Topology
    system: openmm.System
    positions: Any
    protocol: Protocol
    added: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    own_force_field: tuple[str, ...] = field(default=())

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
