"""Liquid argon in three dimensions, simulated by OpenMM at constant energy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import openmm

from latentmd.arrays import Doubles
from latentmd.core.noise import engine_seed
from latentmd.systems.toy.particles import PeriodicFluid, lattice
from latentmd.systems.toy.world import WorldError
from latentmd.units import GAS_CONSTANT

_MASS = 39.948  # amu
_FRICTION = 5.0  # 1/ps while the liquid settles
_AVOGADRO = 602.214076  # amu per 1e-21 g


@dataclass(frozen=True)
class Argon(PeriodicFluid):
    """Argon atoms in a periodic box: the liquid of Rahman, Phys. Rev. 136, A405 (1964), with fewer atoms. U(r) = 4 ε
    ((σ/r)¹² − (σ/r)⁶) times S(t) = 1 − 10 t³ + 15 t⁴ − 6 t⁵, which falls to 0 over the last 0.1 nm before the cutoff.
    States are (x, y, z, vx, vy, vz) in nm and nm/ps, the density in g/cm³. Trajectories settle under a Langevin
    thermostat, lose their momentum and run free by velocity Verlet on OpenMM's Reference platform, with the same
    numbers every time.
    """

    particles: int = 64
    density: float = 1.374
    temperature: float = 94.4
    sigma: float = 0.34
    epsilon: float = 120 * GAS_CONSTANT
    cutoff: float = 0.72
    timestep: float = 0.005
    stride: int = 10
    settle: float = 5.0

    name = "argon"
    units = "ps, nm, kJ/mol, amu"
    dimensions = 3
    mass = _MASS
    neighbourhood = 0.6  # nm

    def __post_init__(self) -> None:
        if not 0.1 < self.cutoff <= self.box / 2:
            raise WorldError(
                f"the cutoff is {self.cutoff:g} nm; {self.particles} atoms fill a box of {self.box:.3g} nm, which "
                "allows 0.1 nm to half of it: take more atoms, or a lower density or cutoff"
            )

    @property
    def box(self) -> float:
        """Width of the cubic box, nm."""
        return float((self.particles * _MASS / (self.density * _AVOGADRO)) ** (1 / 3))

    def simulate(self, trajectories: int, frames: int, seed: int) -> Doubles:
        """States [trajectories, frames, atoms, 6]; takes about a second per trajectory."""
        integrator = self._integrator()
        context = openmm.Context(self._system(), integrator, openmm.Platform.getPlatformByName("Reference"))
        out = np.empty((trajectories, frames, self.particles, 6))
        for i in range(trajectories):
            random = engine_seed(seed, i)
            for part in range(2):  # the Reference platform has one stream for all, which the last one seeds
                integrator.getIntegrator(part).setRandomNumberSeed(random)
            context.reinitialize()
            self._settle(context, integrator, random)
            for frame in range(frames):
                if frame:
                    integrator.step(self.stride)
                out[i, frame] = self._state(context)
        return out

    def _integrator(self) -> openmm.CompoundIntegrator:
        """Thermostat and velocity Verlet in one."""
        thermostat = openmm.LangevinMiddleIntegrator(self.temperature, _FRICTION, self.timestep)
        # OpenMM's own Verlet integrator keeps velocities half a step behind the positions.
        verlet = openmm.CustomIntegrator(self.timestep)
        verlet.addComputePerDof("v", "v + 0.5 * dt * f / m")
        verlet.addComputePerDof("x", "x + dt * v")
        verlet.addComputePerDof("v", "v + 0.5 * dt * f / m")
        both = openmm.CompoundIntegrator()
        both.addIntegrator(thermostat)
        both.addIntegrator(verlet)
        return both

    def _system(self) -> openmm.System:
        system = openmm.System()
        system.setDefaultPeriodicBoxVectors(*(self.box * np.eye(3)).tolist())
        force = openmm.NonbondedForce()
        force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
        force.setCutoffDistance(self.cutoff)
        force.setUseSwitchingFunction(True)
        force.setSwitchingDistance(self.cutoff - 0.1)
        force.setUseDispersionCorrection(False)
        for _ in range(self.particles):
            system.addParticle(_MASS)
            force.addParticle(0.0, self.sigma, self.epsilon)
        system.addForce(force)
        return system

    def _settle(self, context: openmm.Context, integrator: openmm.CompoundIntegrator, random: int) -> None:
        integrator.setCurrentIntegrator(0)
        context.setPositions(lattice(self.particles, 3, self.box))
        context.setVelocitiesToTemperature(self.temperature, random)
        integrator.step(math.ceil(self.settle / self.timestep))
        velocities = self._state(context)[:, 3:]
        context.setVelocities(velocities - velocities.mean(0))
        integrator.setCurrentIntegrator(1)

    def _state(self, context: openmm.Context) -> Doubles:
        state = context.getState(positions=True, velocities=True)
        x, v = state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value
        return np.concatenate([x % self.box, v], axis=-1)

    def potential(self, x: Doubles) -> Doubles:
        """Potential energy [...] kJ/mol at positions [..., atoms, 3] nm, as OpenMM computes it."""
        r = np.sqrt((self.pairs.displacements(x, self.box) ** 2).sum(-1))
        sixth = (self.sigma / np.minimum(r, self.cutoff)) ** 6
        t = np.clip((r - self.cutoff + 0.1) / 0.1, 0, 1)
        switch = 1 - t**3 * (10 - 15 * t + 6 * t**2)
        return np.asarray((4 * self.epsilon * (sixth * sixth - sixth) * switch).sum(-1))
