"""Jumps of a solute in a box of water: a model chooses torsions, restraints steer them there while the water follows.

A decoded structure cannot be put into water as it is: it would overlap with molecules that stood elsewhere. So a jump

1. asks the model for a structure of the solute a latent step later, and reads its torsions;
2. adds 0.5 k (t - t_target(s))² for every torsion about a rotatable bond, with targets that go from the present values
   to the new ones along the shorter arc while s goes from 0 to 1 during `steer`, in ordinary MD;
3. releases the restraints, lets `discard` pass, and goes on without bias.

This is *not* a Metropolis step: the ensemble after a jump depends on the model, on the steering and on what the discard
time leaves of both. `protocol_work` is reported for every jump, so that one can see how far from equilibrium it was
(Jarzynski 1997; an exact method would accept by it, as nonequilibrium candidate Monte Carlo does: Nilmeier et al., PNAS
108, E1009, 2011). Frames carry the phase they were made in; statistics belong to "md" frames alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import openmm
from openmm import unit

from latentmd.arrays import Doubles, Ints
from latentmd.integrators.ase_molecule import Model, as_propagator
from latentmd.integrators.openmm_integrator import as_number
from latentmd.integrators.openmm_selection import select, sub_topology
from latentmd.molecule.checks import topology_arrays, torsions
from latentmd.molecule.torsions import rotatable_torsions

if TYPE_CHECKING:
    from openmm import app

Phase = Literal["steer", "discard", "md"]

#: Stiffness of the restraints, kJ/mol/rad²: 8 degrees of spread at 300 K.
STIFFNESS = 120.0
#: Updates of the targets per ps of steering.
_UPDATES = 10
_STRENGTH = "latentmd_steering"
_PROGRESS = "latentmd_steering_progress"


@dataclass(frozen=True)
class Jump:
    """Result of one jump.

    Attributes:
        start: torsions before, radians, shape (torsions,).
        target: torsions that the model chose, radians, shape (torsions,).
        end: torsions when the restraints were released, radians, shape (torsions,).
        protocol_work: kJ/mol that moving the targets did on the system.
    """

    start: Doubles
    target: Doubles
    end: Doubles
    protocol_work: float

    @property
    def missed(self) -> float:
        """Largest distance between a torsion and its target at the release, radians."""
        return float(np.abs(_shortest(self.target - self.end)).max())


class SolventJumps:
    """Jumps of the solute of a solvated System.

    Make it before the Context: it adds one force to the System.

    Args:
        system: solvated System; gets a CustomTorsionForce that is zero outside a jump.
        topology: of the System.
        model: of the solute: a name or path, a Bundle, or a Propagator to share.
        atoms: indices of the solute, in any order; the first molecule's where None.
        time: of the model's step, Quantity or ps.
        steer: of steering, Quantity or ps, 20 to 100 in small peptides.
        discard: without bias and left out after the release, Quantity or ps.
        seed: of the model's noise; jump n draws from (seed, n).

    Raises:
        TypeError: an argument of another type.
        ValueError: the atoms are not the molecule of the model, or a time is not positive.
    """

    def __init__(
        self,
        system: openmm.System,
        topology: app.Topology,
        model: Model,
        *,
        atoms: Sequence[int] | None = None,
        time: unit.Quantity | float = 100.0,
        steer: unit.Quantity | float = 40.0,
        discard: unit.Quantity | float = 20.0,
        seed: int = 0,
    ) -> None:
        given = {"time": time, "steer": steer, "discard": discard}
        self.time, self.steer, self.discard = (as_number(t, unit.picosecond, name) for name, t in given.items())
        if not (self.time > 0 and self.steer > 0 and self.discard >= 0):
            raise ValueError(
                f"time {self.time:g}, steer {self.steer:g}, discard {self.discard:g} ps; expected positive times"
            )
        self.model, self.seed = as_propagator(model, "auto"), seed
        manifest = self.model.manifest
        self.selection = select(system, topology, manifest, range(len(manifest.tokens)) if atoms is None else atoms)
        chosen = list(self.selection.atoms)
        symbols, bonds = topology_arrays(sub_topology(topology, chosen))
        self.atoms = np.array(chosen)
        self.quads: Ints = rotatable_torsions(symbols, bonds)
        self.jumps = 0
        self.force = self._add_force(system)

    def _add_force(self, system: openmm.System) -> openmm.CustomTorsionForce:
        force = openmm.CustomTorsionForce(
            f"0.5*{_STRENGTH}*d^2; d = min(x, 6.283185307179586 - x); x = abs(theta - wrapped);"
            "wrapped = target - 6.283185307179586*floor(target/6.283185307179586 + 0.5);"
            f"target = begin + {_PROGRESS}*turn"
        )
        for name, value in ((_STRENGTH, 0.0), (_PROGRESS, 0.0)):
            force.addGlobalParameter(name, value)
        for name in ("begin", "turn"):
            force.addPerTorsionParameter(name)
        for quad in self.quads:
            force.addTorsion(*(int(self.atoms[i]) for i in quad), [0.0, 0.0])
        force.setUsesPeriodicBoundaryConditions(system.usesPeriodicBoundaryConditions())
        force.setName("LatentSteering")
        system.addForce(force)
        return force

    def __repr__(self) -> str:
        return f"SolventJumps({len(self.atoms)} atoms, {len(self.quads)} torsions, {self.jumps} jumps made)"

    def jump(self, simulation: app.Simulation) -> Iterator[tuple[Phase, Jump | None]]:
        """Steer the solute to a structure that the model chooses.

        Yields:
            The phase that is over: ("steer", None) after each tenth of the steering, then ("discard", jump). Read the
            state of the simulation in between; every later step is "md".

        Raises:
            ValueError: the model cannot make that time.
        """
        context = simulation.context
        timestep = context.getIntegrator().getStepSize().value_in_unit(unit.picosecond)
        start, target = self._torsions(context), self._chosen(context)
        self._set(context, start, _shortest(target - start))
        work, updates = 0.0, max(10, round(self.steer * _UPDATES))
        steps = np.diff(np.round(np.linspace(0, self.steer / timestep, updates + 1)).astype(int))
        for number, length in enumerate(steps.tolist(), 1):
            before = self._restraint(context)
            context.setParameter(_PROGRESS, number / updates)
            work += self._restraint(context) - before
            simulation.step(length)
            if number % max(1, updates // 10) == 0 and number < updates:
                yield "steer", None
        end = self._torsions(context)
        context.setParameter(_STRENGTH, 0.0)
        self.jumps += 1
        yield "steer", None
        simulation.step(round(self.discard / timestep))
        yield "discard", Jump(start, target, end, work)

    def _chosen(self, context: openmm.Context) -> Doubles:
        """Torsions of a sound structure that the model proposes."""
        from latentmd.core.noise import CounterNoise

        rng = CounterNoise(self.seed, 0, self.jumps)
        positions = self._positions(context)
        for _ in range(10):
            proposed = self.model.propose(positions, self.time, rng)
            if all(bool(passed[0]) for passed in self.model.checks(proposed[None]).values()):
                break
        return np.asarray(torsions(proposed[None], self.quads)[0], dtype=np.float64)

    def _set(self, context: openmm.Context, begin: Doubles, turn: Doubles) -> None:
        for i, quad in enumerate(self.quads):
            atoms = (int(self.atoms[k]) for k in quad)
            self.force.setTorsionParameters(i, *atoms, [float(begin[i]), float(turn[i])])
        self.force.updateParametersInContext(context)
        context.setParameter(_PROGRESS, 0.0)
        context.setParameter(_STRENGTH, STIFFNESS)

    def _restraint(self, context: openmm.Context) -> float:
        """Energy of the restraints, kJ/mol."""
        angles = self._torsions(context)
        progress = context.getParameter(_PROGRESS)
        begin, turn = np.array([self.force.getTorsionParameters(i)[4] for i in range(len(self.quads))]).T
        return 0.5 * STIFFNESS * float((_shortest(angles - begin - progress * turn) ** 2).sum())

    def _positions(self, context: openmm.Context) -> Doubles:
        """The solute, whole, nm, shape (atoms, 3)."""
        state = context.getState(positions=True, enforcePeriodicBox=False)
        positions: Doubles = np.asarray(state.getPositions(asNumpy=True)._value, dtype=np.float64)[self.atoms]
        return positions

    def _torsions(self, context: openmm.Context) -> Doubles:
        return np.asarray(torsions(self._positions(context)[None], self.quads)[0], dtype=np.float64)


def _shortest(angles: Doubles) -> Doubles:
    """Angles modulo a full turn, in [-pi, pi)."""
    return np.asarray((angles + np.pi) % (2 * np.pi) - np.pi)
