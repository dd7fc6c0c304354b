"""Energies and Hamiltonian moves of chains from a replica engine, every evaluation counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentmd.arrays import Bools, Doubles, Floats
from latentmd.units import GAS_CONSTANT

if TYPE_CHECKING:
    from latentmd.replicas.engine import ReplicaEngine
    from latentmd.replicas.one_by_one import OneByOne

#: Velocity Verlet steps of a Hamiltonian move.
STEPS = 40
#: Time step over that of the protocol: about nine in ten Hamiltonian moves of 40 atoms are accepted, eight of 75.
TIMESTEP = 0.5


@dataclass
class EngineEnergies:
    """What chains ask of a replica engine.

    Attributes:
        engine: with as many replicas as the chains have.
        timestep: of velocity Verlet, ps.
        steps: of a Hamiltonian move.
        calls: how often the energy of one structure, or its forces, were evaluated so far.
    """

    engine: ReplicaEngine | OneByOne
    timestep: float
    steps: int = STEPS
    calls: int = 0

    def energies(self, positions: Floats) -> Doubles:
        """Potential energies in kJ/mol, shape (replicas,), of positions (replicas, atoms, 3) in nm."""
        self.calls += len(positions)
        return self.engine.energies(positions)

    def hamiltonian(
        self, positions: Floats, energies: Floats, temperatures: Floats, rng: np.random.Generator
    ) -> tuple[Doubles, Doubles, Bools]:
        """Follow velocity Verlet with constraints from fresh velocities; accept with min(1, exp(-dH / kT)).

        Args:
            positions: nm, shape (replicas, atoms, 3).
            energies: potential energies of these in kJ/mol, shape (replicas,).
            temperatures: kelvin, shape (replicas,).
            rng: decides acceptance; velocities come from the engine's seeds.

        Returns:
            Positions in nm, potential energies in kJ/mol, and whether each move was accepted.
        """
        engine = self.engine
        engine.set_positions(positions)
        engine.set_temperatures(temperatures)
        engine.draw_velocities()
        before = energies + engine.kinetic_energies()
        engine.verlet(self.steps, timestep=self.timestep)
        potential = engine.energies()
        self.calls += (self.steps + 2) * len(positions)
        with np.errstate(invalid="ignore"):
            exponent = (before - potential - engine.kinetic_energies()) / (GAS_CONSTANT * temperatures)
        accepted = np.log(rng.random(len(positions))) < np.where(np.isfinite(exponent), exponent, -np.inf)
        moved = np.where(accepted[:, None, None], engine.positions, positions)
        return moved, np.where(accepted, potential, energies), accepted
