"""Generated residues put beside given ones: superposed on them, joined, and let settle while those are held."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
import torch
from torch import Tensor

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.core.paths.pinned import systematic
from latentmd.core.paths.steps import FreeSteps
from latentmd.molecule.chain import chain
from latentmd.molecule.geometry import superposed
from latentmd.molecule.known_torsions import KnownTorsions, known_torsions
from latentmd.systems.builder import Molecule

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

_STARTS = 8  # draws for each particle that the first frame is started with


def _nowhere(z: Tensor) -> Tensor:
    """One cell: what is observed guides these steps, not cells."""
    return torch.zeros(len(z), dtype=torch.long)


@dataclass(frozen=True)
class Told:
    """Torsions of each frame that the given atoms determine: which, and their values [frames, tokens, slots] in
    radians. Picklable.
    """

    which: KnownTorsions
    angles: Floats

    def part(self, begin: int, end: int) -> Told:
        """The frames from `begin` to before `end`."""
        return Told(self.which, self.angles[begin:end])


def told_by(propagator: Propagator, known: Ints, positions: Floats) -> Told:
    """Measure the torsions that the given atoms of frames determine, of a bound peptide; positions [frames, atoms,
    3] in nm.
    """
    topology, own = propagator.molecule()
    hand = propagator.module.hand.numpy()
    which = known_torsions(chain(topology, own * hand), known)
    return Told(which, which.measure(positions * hand))


class ToldSteps(FreeSteps):
    """Steps of a bound peptide that agree with the known torsions of each frame."""

    def __init__(self, module: Any, told: Told, lag: float) -> None:
        super().__init__(module, _nowhere, lag)
        self.module, self.lag = module, lag
        self.angles, self.known = torch.from_numpy(told.angles), torch.from_numpy(told.which.known)

    @torch.no_grad()
    def starts(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws from equilibrium given the known torsions of the first frame, [count, tokens, axes]."""
        nothing = torch.zeros(_STARTS * count, *self.module.types.shape[1:2], int(self.module.axes))
        z, weight = self._told(nothing, 0, np.inf, generator)
        return z[systematic(torch.softmax(weight.double(), dim=0), count, generator)]

    def arrive(self, z: Tensor, t: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Step particles [particles, tokens, axes] to frame t; returns z' and the ln of the weight of each."""
        return self._told(z, t, self.lag, generator)

    def _told(self, z: Tensor, t: int, lag: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        noise = torch.randn(len(z), int(self.module.torsion_noise), generator=generator)
        drawn: tuple[Tensor, Tensor] = self.module.told_step(
            z, torch.full((len(z),), lag), noise, self.angles[t], self.known
        )
        return drawn


_ITERATIONS = (30, 200, 0)  # of the minimiser, which heals the joints: more where dynamics goes wrong; 0 has no limit
_SETTLE, _TIMESTEP = 0.2, 0.002  # ps of Langevin dynamics, and of one step of it
_FRICTION = 10.0  # 1/ps, at which torsions reach their width in that time


class Graft:
    """Joins generated structures to given coordinates of some atoms, which do not move.

    A generated structure lies on the given atoms within some hundredths of a nanometre. Where it is put beside them its
    joints are strained, and torsions are off by some ten degrees. The joints are minimised, then the generated atoms
    take 0.2 ps of Langevin dynamics with the given ones held: a step of the conditional distribution of the force
    field, so that what the model is not sharp enough to tell comes from there. `limits`: median and upper limit of MD's
    potential energy, kJ/mol, where they are known.
    """

    def __init__(self, molecule: Molecule, known: Ints, limits: tuple[float, float] | None, seed: int) -> None:
        self.known, self.temperature = known, molecule.protocol.temperature
        self.limit = np.inf if limits is None else limits[1]
        self._context = _held(molecule, known, seed)
        self._seeds = np.random.default_rng(seed)

    def join(self, generated: Doubles, given: Doubles) -> tuple[Doubles, float]:
        """One frame of generated and given positions [atoms, 3] in nm, of which the known atoms count: positions and
        potential energy in kJ/mol.
        """
        whole = laid_on_known(generated[None], given[None], self.known)[0]
        whole[self.known] = given[self.known]
        best = whole, np.inf
        for iterations in _ITERATIONS:
            self._context.setPositions(whole)
            openmm.LocalEnergyMinimizer.minimize(self._context, maxIterations=iterations)
            rest = self._state()
            with contextlib.suppress(openmm.OpenMMException):  # coordinates that are not numbers
                self._context.setVelocitiesToTemperature(self.temperature, int(self._seeds.integers(1, 2**31)))
                self._context.getIntegrator().step(round(_SETTLE / _TIMESTEP))
                best = min(best, self._state(), key=lambda found: found[1])
            if best[1] <= self.limit and np.isfinite(best[1]):
                return best
        return min(best, rest, key=lambda found: found[1])

    def _state(self) -> tuple[Doubles, float]:
        """Positions, and the potential energy; infinite where either is not a number."""
        state = self._context.getState(positions=True, energy=True)
        x = np.asarray(state.getPositions(asNumpy=True)._value, dtype=np.float64)
        energy = float(state.getPotentialEnergy()._value)
        return x, energy if np.isfinite(energy) and np.isfinite(x).all() else np.inf


def laid_on_known(generated: Doubles, given: Floats, known: Ints) -> Doubles:
    """Structures moved as a whole so that the known atoms lie best on the given ones; nm, shape (frames, atoms, 3)."""
    weights = np.zeros(generated.shape[1])
    weights[known] = 1.0
    return superposed(generated, given, weights)


def known_atoms(topology: Any, hidden: Bools) -> tuple[Ints, Ints]:
    """Atoms of an OpenMM topology outside the hidden residues: all of them, and the heavy ones."""
    atoms = [atom for atom in topology.atoms() if not hidden[atom.residue.index]]
    heavy = [atom.index for atom in atoms if atom.element is not None and atom.element.symbol != "H"]
    return np.array([atom.index for atom in atoms], dtype=np.int64), np.array(heavy, dtype=np.int64)


def _held(molecule: Molecule, known: Ints, seed: int) -> openmm.Context:
    """A Context in which the known atoms have no mass, so that nothing moves them."""
    system, fixed = copy.deepcopy(molecule.system), set(known.tolist())
    for index in range(system.getNumConstraints() - 1, -1, -1):
        i, j, _ = system.getConstraintParameters(index)
        if i in fixed or j in fixed:
            system.removeConstraint(index)
    for atom in fixed:
        system.setParticleMass(atom, 0.0)
    integrator = openmm.LangevinMiddleIntegrator(molecule.protocol.temperature, _FRICTION, _TIMESTEP)
    integrator.setRandomNumberSeed(seed % 2**31 or 1)  # 0 would be a seed of OpenMM's own choice
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
