"""Replicas with plain OpenMM, one after another: where the compiled kernel is missing or does not know a force."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Unpack

import numpy as np
import openmm

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.core.noise import engine_seed
from latentmd.replicas.replicas import Machine, Replicas, Settings, check_steps
from latentmd.systems.parametrise import barostat_fault, thermostat_fault
from latentmd.systems.relaxation import StopBelow

_RESTRAINTS = 30  # force group, left out of energies
_TOLERANCE = 1e-8  # of constraints, relative


class OneByOne(Replicas):
    """Replicas in one OpenMM Context that the replicas take turns in.

    Random numbers are OpenMM's, seeded for every stretch of dynamics by (seed, number of the replica, draw), so that
    neither other replicas nor earlier calls decide them. The platform is by size, unless one is given with its threads
    on a CPU. ValueError where the System has a thermostat or a barostat of its own.
    """

    variant = "OpenMM"

    def __init__(
        self, system: openmm.System, positions: Floats, platform: Machine | None = None, **settings: Unpack[Settings]
    ) -> None:
        if fault := thermostat_fault(system) or barostat_fault(system):
            raise ValueError(fault)
        masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
        super().__init__(positions, masses, **settings)
        self._system = copy.deepcopy(system)
        self._force = _torsion_restraints(self.restraints)
        if len(self.restraints):
            self._system.addForce(self._force)
        name, threads = platform or ("Reference" if len(masses) <= 150 else "CPU", None)
        self._platform = openmm.Platform.getPlatformByName(name)
        self._properties = {"Threads": str(threads)} if threads and name == "CPU" else {}
        self._contexts: dict[tuple[str, float], openmm.Context] = {}

    def __repr__(self) -> str:
        return f"OneByOne({self.replicas} replicas of {len(self.masses)} atoms, {self._platform.getName()})"

    def energies(self, positions: Floats | None = None) -> Doubles:
        """Potential energies in kJ/mol, shape (replicas,)."""
        return np.array([row[0] for row in self._evaluated(positions)])

    def forces(self, positions: Floats | None = None) -> Floats:
        """Forces in kJ/mol/nm, those of restraints included, shape (replicas, atoms, 3)."""
        return np.array([row[1] for row in self._evaluated(positions)])

    def constrain(self) -> None:
        """Move positions and velocities onto the constraints."""
        for r, context in self._each("verlet", 0.001):
            context.applyConstraints(_TOLERANCE)
            context.applyVelocityConstraints(_TOLERANCE)
            self._keep(r, context)

    def draw_velocities(self) -> None:
        """Draw Maxwell–Boltzmann velocities without components along constraints."""
        for r, context in self._each("verlet", 0.001):
            context.setVelocitiesToTemperature(float(self.temperatures[r]), self._seed(r))
            self._keep(r, context)
        self.draw += 1

    def langevin(self, steps: int, *, timestep: float, friction: float) -> None:
        """LangevinMiddle dynamics; see `Replicas`."""
        check_steps(steps, timestep)
        for r, context in self._each("langevin", timestep):
            integrator = context.getIntegrator()
            integrator.setTemperature(float(self.temperatures[r]))
            integrator.setFriction(friction)
            integrator.setRandomNumberSeed(self._seed(r))
            context.reinitialize()  # so that the seed counts
            self._load(r, context)
            self._step(r, context, steps)
        self.draw += steps

    def verlet(self, steps: int, *, timestep: float) -> None:
        """Velocity Verlet with constraints; steps, time step in ps."""
        check_steps(steps, timestep)
        for r, context in self._each("verlet", timestep):
            self._step(r, context, steps)

    def minimize(
        self, iterations: int = 200, largest_step: float = 0.01, tolerance: float = 10.0, enough: float | None = None
    ) -> Doubles:
        """Minimise with OpenMM, which chooses its own steps; see `Replicas`."""
        energies = []
        for r, context in self._each("verlet", 0.001):
            reporter = None if enough is None else StopBelow(enough)
            openmm.LocalEnergyMinimizer.minimize(context, tolerance, iterations, reporter)
            context.setVelocities(np.zeros_like(self.velocities[r]))
            self._keep(r, context)
            energies.append(context.getState(energy=True).getPotentialEnergy()._value)
        return np.array(energies)

    def _seed(self, replica: int) -> int:
        return engine_seed(int(self.seeds[replica]), int(self.numbers[replica]), self.draw)

    def _each(self, kind: str, timestep: float) -> Iterator[tuple[int, openmm.Context]]:
        """Every replica that is not broken, loaded into a Context."""
        context = self._context(kind, timestep)
        for r in np.flatnonzero(~self.broken()).tolist():
            self._load(r, context)
            yield r, context

    def _load(self, replica: int, context: openmm.Context) -> None:
        self._restrain(replica, context)
        context.setPositions(self.positions[replica])
        context.setVelocities(self.velocities[replica])

    def _context(self, kind: str, timestep: float) -> openmm.Context:
        if (kind, timestep) not in self._contexts:
            integrator = _velocity_verlet(timestep)
            if kind == "langevin":
                integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, timestep)
            integrator.setConstraintTolerance(_TOLERANCE)
            self._contexts[kind, timestep] = openmm.Context(self._system, integrator, self._platform, self._properties)
        return self._contexts[kind, timestep]

    def _restrain(self, replica: int, context: openmm.Context) -> None:
        if not len(self.restraints):
            return
        for k, quad in enumerate(self.restraints.tolist()):
            self._force.setTorsionParameters(k, *quad, [float(self._targets[replica, k])])
        self._force.updateParametersInContext(context)
        context.setParameter("latentmd_stiffness", float(self._stiffness[replica]))

    def _step(self, replica: int, context: openmm.Context, steps: int) -> None:
        try:
            context.getIntegrator().step(steps)
            self._keep(replica, context)
        except openmm.OpenMMException:  # coordinates that are not finite
            self.positions[replica] = np.nan

    def _keep(self, replica: int, context: openmm.Context) -> None:
        state = context.getState(positions=True, velocities=True)
        self.positions[replica] = state.getPositions(asNumpy=True)._value
        self.velocities[replica] = state.getVelocities(asNumpy=True)._value

    def _evaluated(self, positions: Floats | None) -> Iterator[tuple[float, Floats]]:
        context = self._context("verlet", 0.001)
        for r, frame in enumerate(self.positions if positions is None else np.asarray(positions, dtype=np.float64)):
            if not np.isfinite(frame).all():
                yield np.nan, np.full(frame.shape, np.nan)
                continue
            self._restrain(r, context)
            context.setPositions(frame)
            energy = context.getState(energy=True, groups=set(range(32)) - {_RESTRAINTS}).getPotentialEnergy()._value
            yield energy, np.asarray(context.getState(forces=True).getForces(asNumpy=True)._value)


def _torsion_restraints(quads: Ints) -> openmm.CustomTorsionForce:
    force = openmm.CustomTorsionForce(
        "0.5*latentmd_stiffness*d^2; d = min(x, 6.283185307179586 - x); x = abs(theta - wrapped);"
        "wrapped = target - 6.283185307179586*floor(target/6.283185307179586 + 0.5)"
    )
    force.addGlobalParameter("latentmd_stiffness", 0.0)
    force.addPerTorsionParameter("target")
    for quad in np.asarray(quads).tolist():
        force.addTorsion(*quad, [0.0])
    force.setForceGroup(_RESTRAINTS)
    return force


def _velocity_verlet(timestep: float) -> openmm.CustomIntegrator:
    """Velocity Verlet with constraints of positions and velocities (RATTLE; Andersen 1983): reversible, symplectic."""
    integrator = openmm.CustomIntegrator(timestep)
    integrator.addPerDofVariable("free", 0)
    integrator.addComputePerDof("v", "v + 0.5 * dt * f / m")
    integrator.addComputePerDof("x", "x + dt * v")
    integrator.addComputePerDof("free", "x")
    integrator.addConstrainPositions()
    integrator.addComputePerDof("v", "v + 0.5 * dt * f / m + (x - free) / dt")
    integrator.addConstrainVelocities()
    return integrator
