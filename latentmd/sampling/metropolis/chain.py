"""One Metropolis chain of a molecule: Hamiltonian steps within a basin, torsions drawn anew between basins.

Both moves leave exp(-U / kT) unchanged, so that nothing but statistical error is left. A Hamiltonian step draws
velocities, follows velocity Verlet with constraints for a while, and is accepted with min(1, exp(-dH / kT)) (Duane et
al., Phys. Lett. B 195, 216, 1987); the other move is `TorsionMove`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentmd.arrays import Floats
from latentmd.sampling.contracts import BurstError
from latentmd.sampling.engine import explosions
from latentmd.sampling.metropolis.moves import TorsionMove
from latentmd.units import thermal_energy

if TYPE_CHECKING:
    import openmm

    from latentmd.systems.builder import Molecule


STEPS = 20  # velocity Verlet steps of a Hamiltonian move
TORSION_MOVES = 10  # torsion moves after each Hamiltonian move
_PLATFORM = "Reference"  # in double precision, and the fastest for so few atoms without a GPU
_TOLERANCE = 1e-8  # relative tolerance of constraints
_TIMESTEP = 0.5  # time step over that of the protocol, so that few Hamiltonian moves are rejected


@dataclass(frozen=True)
class Segment:
    """A segment of a chain, decided by these values alone.

    Attributes:
        molecule: with temperature and time step.
        move: of the torsions.
        start: positions (atoms, 3) in nm.
        sweeps: number of them; each is a Hamiltonian move and ten torsion moves.
        seed: of all random numbers.
    """

    molecule: Molecule
    move: TorsionMove
    start: Floats
    sweeps: int
    seed: int


@dataclass(frozen=True)
class Piece:
    """Samples of one chain segment.

    Attributes:
        positions: after every sweep, shape (sweeps, atoms, 3), nm.
        energies: kJ/mol, shape (sweeps,).
        accepted: numbers of accepted Hamiltonian and torsion moves.
    """

    positions: Floats
    energies: Floats
    accepted: tuple[int, int]


def run_segment(segment: Segment) -> Piece:
    """Sample a segment; the next one starts from its last positions.

    Raises:
        BurstError: the start has no finite energy.
    """
    chain = _Chain(segment)
    positions = np.empty((segment.sweeps, *segment.start.shape))
    energies = np.empty(segment.sweeps)
    accepted = np.zeros(2, dtype=np.int64)
    for sweep in range(segment.sweeps):
        accepted += chain.hamiltonian_step(), chain.torsion_steps()
        positions[sweep], energies[sweep] = chain.positions, chain.energy
    return Piece(positions, energies, (int(accepted[0]), int(accepted[1])))


class _Chain:
    """State of one Markov chain: positions, potential energy, random generator."""

    def __init__(self, segment: Segment) -> None:
        protocol = segment.molecule.protocol
        self.move, self.temperature = segment.move, protocol.temperature
        self.beta = 1.0 / thermal_energy(protocol.temperature)
        self.rng = np.random.default_rng(segment.seed)
        self.integrator = velocity_verlet(_TIMESTEP * protocol.timestep)
        self.context = segment.molecule.context(self.integrator, _PLATFORM)
        centred = np.asarray(segment.start, dtype=np.float64)
        with explosions():
            self.context.setPositions(centred - centred.mean(axis=0))
            self.context.applyConstraints(_TOLERANCE)
            self.positions = np.asarray(self.context.getState(positions=True).getPositions(asNumpy=True)._value)
            self.energy = self._energy(self.positions)
        if not np.isfinite(self.energy):
            raise BurstError("a chain starts where the energy is not finite")

    def _energy(self, positions: Floats) -> float:
        self.context.setPositions(positions)
        return float(self.context.getState(energy=True).getPotentialEnergy()._value)

    def _passes(self, exponent: float) -> bool:
        """Whether a proposal of this logarithm of the acceptance ratio is taken; never where it is not finite."""
        return bool(np.log(self.rng.random()) < exponent)

    def hamiltonian_step(self) -> int:
        """Make a Hamiltonian Monte Carlo step; 1 where it was accepted."""
        import openmm

        self.context.setPositions(self.positions)
        self.context.setVelocitiesToTemperature(self.temperature, int(self.rng.integers(1, 2**31 - 1)))
        before = self.energy + self.context.getState(energy=True).getKineticEnergy()._value
        try:
            self.integrator.step(STEPS)
            state = self.context.getState(positions=True, energy=True)
        except openmm.OpenMMException:  # coordinates that are not finite
            return 0
        energy = float(state.getPotentialEnergy()._value)
        if not self._passes(self.beta * (before - energy - state.getKineticEnergy()._value)):
            return 0
        self.positions, self.energy = np.asarray(state.getPositions(asNumpy=True)._value), energy
        return 1

    def torsion_steps(self) -> int:
        """Make ten torsion moves; how many were accepted."""
        density, taken = self.move.log_density(self.move.angles(self.positions)), 0
        for _ in range(TORSION_MOVES):
            angles = self.move.draw(self.rng)
            proposed, after = self.move.with_torsions(self.positions, angles), self.move.log_density(angles)
            energy = self._energy(proposed)
            if self._passes(self.beta * (self.energy - energy) + density - after):
                self.positions, self.energy, density, taken = proposed, energy, after, taken + 1
        return taken


def velocity_verlet(timestep: float) -> openmm.CustomIntegrator:
    """Velocity Verlet with constraints of positions and velocities (RATTLE; Andersen 1983): reversible, symplectic.

    Args:
        timestep: ps.
    """
    import openmm

    integrator = openmm.CustomIntegrator(timestep)
    integrator.setConstraintTolerance(_TOLERANCE)
    integrator.addPerDofVariable("free", 0)
    integrator.addComputePerDof("v", "v + 0.5 * dt * f / m")
    integrator.addComputePerDof("x", "x + dt * v")
    integrator.addComputePerDof("free", "x")
    integrator.addConstrainPositions()
    integrator.addComputePerDof("v", "v + 0.5 * dt * f / m + (x - free) / dt")
    integrator.addConstrainVelocities()
    return integrator
