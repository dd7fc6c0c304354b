"""Short unbiased OpenMM simulations of one molecule: the engine of hybrid sampling."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from latentmd.arrays import Bools, Floats, Ints
from latentmd.molecule.checks import (
    StructureTemplate,
    check_frames,
    structure_template,
    topology_arrays,
    torsions,
)
from latentmd.molecule.torsions import amide_torsions, rotatable_torsions
from latentmd.sampling.contracts import Burst, BurstError, Relaxed

if TYPE_CHECKING:
    import openmm

    from latentmd.replicas.engine import ReplicaEngine
    from latentmd.systems.builder import Molecule

Result = TypeVar("Result")

RELAXATION = 1.0  # ps of restrained simulation after the minimisation of a proposed structure
RESTRAINED = 0.5  # ps of restrained simulation before a burst
_STIFFNESS = 1000.0  # of the torsion restraints, kJ/mol/rad²: 3 degrees at 300 K
_STRENGTH = "latentmd_hold"  # Context parameter that scales the restraints
_MINIMISATION = 100  # most iterations of the minimiser
_TOLERANCE = 10.0  # root mean square of the forces where it ends, kJ/mol/nm
_RESTRAINTS = 30  # force group of the restraints, left out of energies


@dataclass(frozen=True)
class MoleculeEngine:
    """Langevin dynamics of a molecule under its protocol.

    Every call makes a Context of its own, so that arguments alone decide the result.

    Attributes:
        molecule: what is simulated.
        interval: ps between frames, a multiple of the time step.
        platform: OpenMM platform.
        quads: atoms of the torsions about rotatable bonds, shape (torsions, 4).
        fixed: atoms of the torsions that no simulation turns (amides), shape (fixed, 4).
        template: of a sound structure, for the checks.
        isomer: cosines of the fixed torsions, shape (fixed,).
    """

    molecule: Molecule
    interval: float
    platform: str
    quads: Ints
    fixed: Ints
    template: StructureTemplate
    isomer: Floats

    @classmethod
    def of(cls, molecule: Molecule, reference: Floats, interval: float, platform: str) -> MoleculeEngine:
        """Make the engine of a molecule.

        Args:
            molecule: what is simulated.
            reference: minimised positions in nm, shape (atoms, 3).
            interval: between frames, ps.
            platform: OpenMM platform.

        Raises:
            ValueError: the interval is not a multiple of the time step.
        """
        timestep = molecule.protocol.timestep
        if interval < timestep or abs(round(interval / timestep) * timestep - interval) > 1e-9:
            raise ValueError(f"interval {interval:g} ps is not a multiple of the time step {timestep:g} ps")
        symbols, bonds = topology_arrays(molecule.topology)
        quads = rotatable_torsions(symbols, bonds)
        fixed = amide_torsions(symbols, bonds)
        template = structure_template(molecule.topology, reference)
        isomer = np.cos(torsions(reference[None], fixed))[0]
        return cls(molecule, interval, platform, quads=quads, fixed=fixed, template=template, isomer=isomer)

    def at(self, temperature: float) -> MoleculeEngine:
        """The same molecule at another temperature in kelvin."""
        molecule = replace(self.molecule, protocol=replace(self.molecule.protocol, temperature=temperature))
        return replace(self, molecule=molecule)

    def relax(self, positions: Floats, seed: int) -> Relaxed:
        """Minimise and thermalise with restrained rotatable torsions, so that a structure stays where it was proposed.

        Args:
            positions: proposed structure in nm, shape (atoms, 3).
            seed: of velocities and noise.

        Raises:
            BurstError: there is no sound structure near it.
        """
        context, integrator = self._context(seed, held=torsions(positions[None], self.quads)[0])
        with explosions():
            import openmm

            context.setPositions(np.asarray(positions, dtype=np.float64))
            openmm.LocalEnergyMinimizer.minimize(context, maxIterations=_MINIMISATION)
            self._draw_velocities(context, seed)
            integrator.step(round(RELAXATION / self.molecule.protocol.timestep))
            found, energy = _frame(context)
        return Relaxed(found.astype(np.float32), energy)

    def burst(self, start: Floats, frames: int, seed: int) -> Burst:
        """Simulate without any bias from a structure (atoms, 3).

        The rotatable torsions are restrained first, for as long as everything else takes to forget how the structure
        was made or chosen; the first frame is where the restraint ends. A structure chosen because it lies on a
        barrier would go on with the strain of the path that led there, and velocities drawn for a position do not fit
        the half step between them in a leapfrog scheme: stiff angles feel several kT of heat.

        Args:
            start: positions in nm, shape (atoms, 3).
            frames: number of frames, one interval apart.
            seed: of velocities and noise.

        Raises:
            BurstError: the simulation exploded.
        """
        context, integrator = self._context(seed, held=torsions(np.asarray(start)[None], self.quads)[0])
        positions = np.empty((frames, *np.shape(start)), dtype=np.float32)
        energies = np.empty(frames)
        timestep = self.molecule.protocol.timestep
        with explosions():
            context.setPositions(np.asarray(start, dtype=np.float64))
            context.applyConstraints(1e-6)
            self._draw_velocities(context, seed)
            integrator.step(round(RESTRAINED / timestep))
            context.setParameter(_STRENGTH, 0.0)
            positions[0], energies[0] = _frame(context)
            for i in range(1, frames):
                integrator.step(round(self.interval / timestep))
                positions[i], energies[i] = _frame(context)
        return Burst(positions, energies)

    def bursts(self, starts: Floats, frames: int, seeds: Sequence[int]) -> list[Burst | str]:
        """Simulate a burst from each structure, all at once with the replica engine where it knows the force field.

        Each is what `burst` describes, and depends on its own start and seed alone.

        Args:
            starts: nm, shape (bursts, atoms, 3).
            frames: of each burst.
            seeds: one for each burst.

        Returns:
            The bursts, or "exploded" for those that are discarded.
        """
        from latentmd.replicas.choice import unsupported

        if unsupported(self.molecule.system):
            return [_or_reason(self.burst, start, frames, seed) for start, seed in zip(starts, seeds, strict=True)]
        protocol, shape = self.molecule.protocol, np.shape(starts)
        replicas = self._held_replicas(starts, seeds)
        scheme = {"timestep": protocol.timestep, "friction": protocol.friction}
        replicas.constrain()
        replicas.draw_velocities()
        replicas.langevin(round(RESTRAINED / protocol.timestep), **scheme)
        replicas.hold(np.zeros((shape[0], len(self.quads))), 0.0)
        positions, energies = np.empty((shape[0], frames, *shape[1:]), np.float32), np.empty((shape[0], frames))
        for i in range(frames):
            if i:
                replicas.langevin(round(self.interval / protocol.timestep), **scheme)
            positions[:, i], energies[:, i] = replicas.positions, replicas.energies()
        sound = np.isfinite(positions.reshape(shape[0], -1).sum(axis=1)) & np.isfinite(energies.sum(axis=1))
        return [Burst(positions[k], energies[k]) if sound[k] else "exploded" for k in range(shape[0])]

    def relaxations(self, starts: Floats, seeds: Sequence[int]) -> list[Relaxed | str]:
        """Relax structures, all at once with the replica engine where it knows the force field.

        Each is what `relax` describes, and depends on its own start and seed alone.

        Args:
            starts: proposed structures in nm, shape (structures, atoms, 3).
            seeds: one for each structure.

        Returns:
            The relaxed structures, or "exploded" for those that there is no sound structure near.
        """
        from latentmd.replicas.choice import unsupported

        if unsupported(self.molecule.system):
            return [_or_reason(self.relax, start, seed) for start, seed in zip(starts, seeds, strict=True)]
        protocol = self.molecule.protocol
        replicas = self._held_replicas(starts, seeds)
        replicas.minimize(_MINIMISATION, tolerance=_TOLERANCE)
        replicas.draw_velocities()
        steps = round(RELAXATION / protocol.timestep)
        replicas.langevin(steps, timestep=protocol.timestep, friction=protocol.friction)
        positions, energies = replicas.positions.astype(np.float32), replicas.energies()
        sound = np.isfinite(positions.reshape(len(starts), -1).sum(axis=1)) & np.isfinite(energies)
        return [Relaxed(x, float(e)) if ok else "exploded" for x, e, ok in zip(positions, energies, sound, strict=True)]

    def _held_replicas(self, starts: Floats, seeds: Sequence[int]) -> ReplicaEngine:
        """Replicas at structures (replicas, atoms, 3), with the rotatable torsions restrained as they are there."""
        from latentmd.replicas.engine import ReplicaEngine

        x = np.asarray(starts, dtype=np.float64)
        replicas = ReplicaEngine(
            self.molecule.system,
            x,
            temperature=self.molecule.protocol.temperature,
            seed=seeds,
            numbers=[0] * len(x),
            restraints=self.quads,
            threads=1,
        )
        replicas.hold(torsions(x, self.quads), _STIFFNESS)
        return replicas

    def features(self, positions: Floats) -> Floats:
        """Cosines and sines of the torsions about rotatable bonds, shape (frames, 2 torsions)."""
        angles = torsions(np.asarray(positions, dtype=np.float64), self.quads)
        return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)

    def checks(self, positions: Floats) -> Mapping[str, Bools]:
        """Bonds, angles, handedness, clashes, and cis or trans as at the start, of positions (frames, atoms, 3)."""
        frames = np.asarray(positions, dtype=np.float64)
        same = np.cos(torsions(frames, self.fixed)) * self.isomer > 0
        return {**check_frames(frames, self.template), "isomer": np.asarray(same.all(axis=1))}

    def _context(self, seed: int, held: Floats) -> tuple[openmm.Context, openmm.Integrator]:
        """A Context with the rotatable torsions restrained to angles in radians."""
        molecule = replace(self.molecule, system=_restrained(self.molecule.system, self.quads, held))
        integrator = molecule.langevin(seed)
        return molecule.context(integrator, self.platform, threads=1), integrator

    def _draw_velocities(self, context: openmm.Context, seed: int) -> None:
        temperature = self.molecule.protocol.temperature
        context.setVelocitiesToTemperature(temperature, (seed ^ 0x5DEECE6) % (2**31 - 2) + 1)


def _or_reason(simulate: Callable[..., Result], *arguments: Any) -> Result | str:
    """What a simulation returns, or why it was discarded."""
    try:
        return simulate(*arguments)
    except BurstError as error:
        return str(error)


def _frame(context: openmm.Context) -> tuple[Floats, float]:
    """Positions (atoms, 3) in nm and potential energy in kJ/mol, restraints left out."""
    state = context.getState(positions=True, energy=True, groups=set(range(32)) - {_RESTRAINTS})
    positions, energy = state.getPositions(asNumpy=True)._value, float(state.getPotentialEnergy()._value)
    if not (np.isfinite(positions).all() and np.isfinite(energy)):
        raise BurstError("exploded")
    return positions, energy


class explosions:  # noqa: N801
    """Turns OpenMM's errors about coordinates that are not finite into `BurstError`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        import openmm

        if isinstance(error, openmm.OpenMMException):
            raise BurstError("exploded") from error


def _restrained(system: openmm.System, quads: Ints, angles: Floats) -> openmm.System:
    """A copy of a System with torsions (torsions, 4) restrained to angles in radians."""
    import openmm

    held = copy.deepcopy(system)
    force = openmm.CustomTorsionForce(
        f"0.5 * {_STRENGTH} * d^2; d = min(x, 6.283185307179586 - x); x = abs(theta - theta0)"
    )
    force.addGlobalParameter(_STRENGTH, _STIFFNESS)
    force.addPerTorsionParameter("theta0")
    for quad, angle in zip(quads.tolist(), angles.tolist(), strict=True):
        force.addTorsion(*quad, [angle])
    force.setForceGroup(_RESTRAINTS)
    held.addForce(force)
    return held
