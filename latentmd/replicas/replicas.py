"""What every engine of replicas offers: energies, forces and dynamics of many copies of one molecule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.units import GAS_CONSTANT

Machine = tuple[str, int]  # name of a platform of OpenMM, and its threads


@dataclass(frozen=True)
class ReplicaState:
    """Everything that decides how replicas go on; units and shapes as in `Replicas`."""

    positions: Doubles
    velocities: Doubles
    temperatures: Doubles
    draw: int


class Settings(TypedDict, total=False):
    """Of every engine: kelvin and seed, of all or of each replica, numbers of the replicas, torsions to restrain.

    The number (0, 1, ... unless given) decides noise with the seed; `restraints` are atoms (torsions, 4) for `hold`.
    """

    temperature: float | Floats
    seed: int | Sequence[int]
    numbers: Sequence[int] | None
    restraints: Ints | None


class Replicas(ABC):
    """Many replicas at once; `variant` is what computes, an instruction set, "CUDA" or "OpenMM", `draw` draws made."""

    variant: str
    positions: Doubles  # nm, shape (replicas, atoms, 3)
    velocities: Doubles  # nm/ps, shape (replicas, atoms, 3)

    def __init__(
        self,
        positions: Floats,
        masses: Doubles,
        temperature: float | Floats = 300.0,
        seed: int | Sequence[int] = 0,
        numbers: Sequence[int] | None = None,
        restraints: Ints | None = None,
    ) -> None:
        """Copies at positions (replicas, atoms, 3) in nm of atoms with masses in amu, at rest; see `Settings`."""
        start = np.array(positions, dtype=np.float64)
        if start.ndim != 3 or start.shape[1:] != (len(masses), 3):
            raise ValueError(f"positions have shape {start.shape}; expected (replicas, {len(masses)}, 3) in nm")
        self.replicas, self.masses, self.draw = len(start), masses, 0
        self.seeds = np.broadcast_to(np.asarray(seed, dtype=np.uint64), (self.replicas,))
        self.numbers = np.arange(self.replicas) if numbers is None else np.asarray(numbers)
        self.restraints = np.asarray(() if restraints is None else restraints, np.int32).reshape(-1, 4)
        self.set_temperatures(temperature)
        self.set_positions(start)
        self.set_velocities(np.zeros_like(start))
        self.hold(np.zeros((self.replicas, len(self.restraints))), 0.0)

    def set_positions(self, positions: Floats) -> None:
        """Set positions in nm, shape (replicas, atoms, 3)."""
        self.positions = np.array(positions, dtype=np.float64)

    def set_velocities(self, velocities: Floats) -> None:
        """Set velocities in nm/ps, shape (replicas, atoms, 3)."""
        self.velocities = np.array(velocities, dtype=np.float64)

    def set_temperatures(self, temperature: float | Floats) -> None:
        """Set the temperature in kelvin, one for all or shape (replicas,)."""
        self.temperatures = np.array(np.broadcast_to(np.asarray(temperature, dtype=np.float64), (self.replicas,)))
        if not (self.temperatures > 0).all():
            raise ValueError(f"a temperature is {self.temperatures.min():g} K; expected above 0")

    def hold(self, targets: Floats, stiffness: float | Floats) -> None:
        """Restrain torsions to targets (replicas, torsions) in radians with 0.5 k d², d the shortest turn; k 0 lets go.

        k in kJ/mol/rad², one or (replicas,); energies and Hamiltonian acceptance leave it out, dynamics feels it.
        """
        self._targets = np.array(targets, dtype=np.float64)
        self._stiffness = np.array(np.broadcast_to(np.asarray(stiffness, dtype=np.float64), (self.replicas,)))

    @abstractmethod
    def energies(self, positions: Floats | None = None) -> Doubles:
        """Potential energies in kJ/mol, shape (replicas,); of other positions (replicas, atoms, 3) where given."""

    @abstractmethod
    def forces(self, positions: Floats | None = None) -> Floats:
        """Forces in kJ/mol/nm, shape (replicas, atoms, 3); at other positions (replicas, atoms, 3) where given."""

    def kinetic_energies(self) -> Doubles:
        """Kinetic energies in kJ/mol, shape (replicas,)."""
        return np.asarray(0.5 * np.einsum("a,rad->r", self.masses, self.velocities**2))

    @abstractmethod
    def constrain(self) -> None:
        """Move positions onto the constraints and take velocities along them away."""

    @abstractmethod
    def draw_velocities(self) -> None:
        """Draw Maxwell–Boltzmann velocities without components along constraints."""

    @abstractmethod
    def langevin(self, steps: int, *, timestep: float, friction: float) -> None:
        """LangevinMiddle dynamics (Zhang et al., J. Phys. Chem. A 123, 6056, 2019); time step in ps, friction 1/ps."""

    @abstractmethod
    def verlet(self, steps: int, *, timestep: float) -> None:
        """Velocity Verlet with constraints (RATTLE; Andersen 1983), time step in ps: reversible, no thermostat."""

    def hamiltonian(self, steps: int, *, timestep: float, rng: np.random.Generator) -> Bools:
        """One Hamiltonian Monte Carlo move each (Duane et al., Phys. Lett. B 195, 216, 1987); which were accepted."""
        before, energies = self.positions.copy(), self.energies()
        self.draw_velocities()
        energies = energies + self.kinetic_energies()
        self.verlet(steps, timestep=timestep)
        after = self.energies() + self.kinetic_energies()
        with np.errstate(invalid="ignore"):
            exponent = (energies - after) / (GAS_CONSTANT * self.temperatures)
        accepted = np.log(rng.random(self.replicas)) < np.where(np.isfinite(exponent), exponent, -np.inf)
        self.set_positions(np.where(accepted[:, None, None], self.positions, before))
        return np.asarray(accepted)

    @abstractmethod
    def minimize(
        self, iterations: int = 200, largest_step: float = 0.01, tolerance: float = 3.0, enough: float | None = None
    ) -> Doubles:
        """Go downhill, each replica with a step of its own, never uphill; constraints are kept.

        Ends where the root mean square of the forces along the constraints is below `tolerance`, kJ/mol/nm, or the
        energy below `enough`, kJ/mol; no atom moves more than `largest_step`, nm, in a step (OpenMM chooses its own).
        Returns energies in kJ/mol with those of the restraints, shape (replicas,).
        """

    def broken(self) -> Bools:
        """Which replicas have positions or velocities that are not finite, shape (replicas,)."""
        return np.asarray(~np.isfinite([self.positions, self.velocities]).all(axis=(0, 2, 3)))

    def state(self) -> ReplicaState:
        """Copy what decides how the replicas go on."""
        return ReplicaState(self.positions.copy(), self.velocities.copy(), self.temperatures.copy(), self.draw)

    def restore(self, state: ReplicaState) -> None:
        """Go back to a state of this engine: bit for bit, where its noise is a function of the draw alone."""
        self.set_positions(state.positions)
        self.set_velocities(state.velocities)
        self.set_temperatures(state.temperatures)
        self.draw = state.draw


def check_steps(steps: int, timestep: float) -> None:
    """Refuse a negative number of steps or a time step in ps that is not positive."""
    if steps < 0 or timestep <= 0:
        raise ValueError(f"{steps} steps of {timestep:g} ps; expected 0 or more steps of a positive time")
