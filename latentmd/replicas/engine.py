"""Many replicas of one small molecule on the CPU, with the compiled kernel.

Positions and velocities are in double precision, forces in single precision about each replica's centre, energies are
summed in double precision. Random numbers are a function of (seed, replica, draw), and no replica sees another one:
results depend neither on how many replicas there are, nor on their blocks, nor on how many threads.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.replicas import library as lib
from latentmd.replicas.minimise import lower
from latentmd.replicas.replicas import Replicas, check_steps
from latentmd.replicas.terms import Terms, read_terms
from latentmd.units import GAS_CONSTANT

if TYPE_CHECKING:
    import openmm


class ReplicaEngine(Replicas):
    """Replicas in the lanes of this processor's vector unit.

    Args:
        system: OpenMM System, of a kind that `read_terms` reads.
        positions: nm, shape (replicas, atoms, 3).
        temperature: kelvin, one for all or shape (replicas,).
        seed: one for all replicas, which then differ by their numbers, or one for each, shape (replicas,).
        numbers: number of each replica, which decides its random numbers together with its seed; 0, 1, ... where None.
        restraints: atoms of torsions that `hold` may restrain, shape (torsions, 4).
        threads: of this process; one per core where None.
        variant: instruction set, of `library.VARIANTS`; the fastest where None.

    Raises:
        UnsupportedError: the System has a force that the kernel does not know.
        RuntimeError: the kernel is not installed, or not for this instruction set.
    """

    def __init__(
        self,
        system: openmm.System,
        positions: Floats,
        *,
        temperature: float | Floats = 300.0,
        seed: int | Sequence[int] = 0,
        numbers: Sequence[int] | None = None,
        restraints: Ints | None = None,
        threads: int | None = None,
        variant: str | None = None,
    ) -> None:
        found = lib.library()
        if found is None:
            raise RuntimeError("the compiled replica kernel is not installed; install latentmd with a C++ compiler")
        variant = variant or found.variants[-1]
        if variant not in found.variants:
            raise RuntimeError(f"this processor has no {variant}; expected one of {', '.join(found.variants)}")
        self._library, self.variant, self._lanes = found, variant, variant
        self.terms: Terms = read_terms(system)
        self.masses = np.asarray(self.terms.mass, np.float64)
        quads = np.zeros((0, 4), np.int32) if restraints is None else np.asarray(restraints, np.int32).reshape(-1, 4)
        self._prepared = lib.PreparedKernel(self.terms, quads, _momentum_every(system), found.periods)
        self.threads = threads or len(os.sched_getaffinity(0))
        start = np.array(positions, dtype=np.float64)
        if start.ndim != 3 or start.shape[1:] != (self.terms.atoms, 3):
            raise ValueError(f"positions have shape {start.shape}; expected (replicas, {self.terms.atoms}, 3) in nm")
        self.replicas = len(start)
        self._allocate(seed, numbers, len(quads))
        self.set_temperatures(temperature)
        self.set_positions(start)
        self.draw = 0

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.replicas} replicas of {self.terms.atoms} atoms, {self.variant}, "
            f"{self.threads} threads)"
        )

    def _allocate(self, seed: int | Sequence[int], numbers: Sequence[int] | None, restraints: int) -> None:
        lanes, n = self._library.lanes, self.terms.atoms
        self._blocks = -(-self.replicas // lanes)
        self._x = np.zeros((self._blocks, n, 3, lanes))
        self._v = np.zeros((self._blocks, n, 3, lanes))
        self._f = np.zeros((self._blocks, n, 3, lanes), np.float32)
        self._energy = np.zeros((self._blocks, lanes))
        self._bias = np.zeros((self._blocks, lanes))
        self._root_kt = np.zeros((self._blocks, lanes))
        self._targets = np.zeros((self._blocks, restraints, 2, lanes), np.float32)
        self._stiffness = np.zeros((self._blocks, lanes), np.float32)
        ids = np.arange(self.replicas) if numbers is None else np.asarray(numbers)
        self._replica = self._laned(ids.astype(np.uint32))
        seeds = np.broadcast_to(np.asarray(seed, dtype=np.uint64), (self.replicas,))
        self._key = np.stack([self._laned((seeds >> np.uint64(s)).astype(np.uint32)) for s in (0, 32)], axis=1)
        self._key = np.ascontiguousarray(self._key)

    def _laned(self, values: Floats | Ints) -> np.ndarray:
        """Values (replicas, ...) in the kernel's layout (blocks, ..., lanes); spare lanes repeat the last replica."""
        lanes = self._library.lanes
        padded = values[np.minimum(np.arange(self._blocks * lanes), self.replicas - 1)]
        return np.ascontiguousarray(np.moveaxis(padded.reshape(self._blocks, lanes, *values.shape[1:]), 1, -1))

    def _unlaned(self, values: np.ndarray) -> np.ndarray:
        flat = np.moveaxis(values, -1, 1)
        return np.array(flat.reshape(-1, *flat.shape[2:])[: self.replicas], order="C")  # a copy: the kernel writes on

    @property
    def positions(self) -> Doubles:  # type: ignore[override]
        """Positions in nm, shape (replicas, atoms, 3); a copy."""
        return self._unlaned(self._x)

    @property
    def velocities(self) -> Doubles:  # type: ignore[override]
        """Velocities in nm/ps, shape (replicas, atoms, 3); a copy."""
        return self._unlaned(self._v)

    def set_positions(self, positions: Floats) -> None:
        """Set positions in nm, shape (replicas, atoms, 3)."""
        self._x[...] = self._laned(np.asarray(positions, dtype=np.float64))

    def set_velocities(self, velocities: Floats) -> None:
        """Set velocities in nm/ps, shape (replicas, atoms, 3)."""
        self._v[...] = self._laned(np.asarray(velocities, dtype=np.float64))

    def set_temperatures(self, temperature: float | Floats) -> None:
        """Set the temperature in kelvin, one for all or shape (replicas,)."""
        super().set_temperatures(temperature)
        self._root_kt[...] = self._laned(np.sqrt(GAS_CONSTANT * self.temperatures))

    def hold(self, targets: Floats, stiffness: float | Floats) -> None:
        """Restrain torsions; see `Replicas`."""
        values = np.asarray(targets, dtype=np.float64)
        self._targets[...] = self._laned(np.stack([np.cos(values), np.sin(values)], axis=2).astype(np.float32))
        spread = np.broadcast_to(np.asarray(stiffness, dtype=np.float32), (self.replicas,))
        self._stiffness[...] = self._laned(spread)

    def energies(self, positions: Floats | None = None) -> Doubles:
        """Potential energies in kJ/mol, shape (replicas,)."""
        self._evaluate(positions)
        return self._unlaned(self._energy)

    def forces(self, positions: Floats | None = None) -> Floats:
        """Forces in kJ/mol/nm, those of restraints included, shape (replicas, atoms, 3)."""
        self._evaluate(positions)
        return self._unlaned(self._f)

    def constrain(self) -> None:
        """Move positions and velocities onto the constraints."""
        self._run(lib.CONSTRAIN)

    def draw_velocities(self) -> None:
        """Draw Maxwell–Boltzmann velocities without components along constraints."""
        self._run(lib.DRAW, first=self._next(1))

    def langevin(self, steps: int, *, timestep: float, friction: float) -> None:
        """LangevinMiddle dynamics; see `Replicas`."""
        check_steps(steps, timestep)
        self._run(lib.LANGEVIN, steps, self._next(steps), timestep, friction)

    def verlet(self, steps: int, *, timestep: float) -> None:
        """Velocity Verlet with constraints; steps, time step in ps."""
        check_steps(steps, timestep)
        self._run(lib.VERLET, steps, timestep=timestep)

    def minimize(
        self, iterations: int = 200, largest_step: float = 0.01, tolerance: float = 3.0, enough: float | None = None
    ) -> Doubles:
        """Go downhill with `lower`; see `Replicas`."""
        self._v[...] = 0.0
        self.constrain()
        x, energies = lower(
            self.positions,
            self._on_constraints,
            self.masses,
            iterations=iterations,
            largest_step=largest_step,
            tolerance=tolerance,
            enough=enough,
        )
        self.set_positions(x)
        self._v[...] = 0.0
        return energies

    def _on_constraints(self, positions: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        """Positions on the constraints, their energies, and mass-weighted gradients along the constraints."""
        mass = self.masses[:, None]
        self.set_positions(positions)
        self.constrain()
        energies, forces = self._both()
        self.set_velocities(forces / mass)
        self.constrain()
        return self.positions, energies, -np.sqrt(mass) * self.velocities

    def _both(self) -> tuple[Doubles, Floats]:
        """Energies with those of the restraints, and forces."""
        self._evaluate(None)
        return self._unlaned(self._energy + self._bias), self._unlaned(self._f)

    def _evaluate(self, positions: Floats | None) -> None:
        if positions is None:
            self._run(lib.FORCES)
            return
        kept = self._x.copy()
        self.set_positions(positions)
        self._run(lib.FORCES)
        self._x[...] = kept

    def _next(self, draws: int) -> int:
        first, self.draw = self.draw, self.draw + draws
        return first

    def _run(self, kind: int, steps: int = 0, first: int = 0, timestep: float = 0.0, friction: float = 0.0) -> None:
        held = bool(self._stiffness.any())
        block = lib.BlockStruct(
            x=self._x.ctypes.data, v=self._v.ctypes.data, f=self._f.ctypes.data,
            energy=self._energy.ctypes.data, bias=self._bias.ctypes.data,
            root_kT=self._root_kt.ctypes.data, replica=self._replica.ctypes.data, key=self._key.ctypes.data,
            targets=self._targets.ctypes.data, stiffness=self._stiffness.ctypes.data if held else None,
        )  # fmt: skip
        call: Callable[..., None] = self._library.handle.latentmd_run
        call(
            lib.VARIANTS.index(self._lanes), self.threads, ctypes.byref(self._prepared.molecule), ctypes.byref(block),
            self._blocks, kind, steps, first, timestep, friction,
        )  # fmt: skip


def _momentum_every(system: openmm.System) -> int:
    """Steps between removals of the centre-of-mass motion; 0 for never."""
    import openmm

    return next((f.getFrequency() for f in system.getForces() if isinstance(f, openmm.CMMotionRemover)), 0)
