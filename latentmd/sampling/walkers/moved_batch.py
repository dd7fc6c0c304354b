"""Walkers that a model and the replica kernel move together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Ints
from latentmd.core.noise import noise_generator
from latentmd.integrators.schedule import MAX_FORCE
from latentmd.model.propagator import MAX_DRAWS
from latentmd.replicas.choice import replica_engine
from latentmd.replicas.replicas import Replicas, ReplicaState
from latentmd.replicas.settle import EnergyRange
from latentmd.sampling.walkers.alternation import Alternation
from latentmd.sampling.walkers.resume import Arrays, State
from latentmd.systems.relaxation import SETTLE_FRICTION, SETTLE_STEPS

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator
    from latentmd.sampling.run.preparation import Prepared

_MINIMISER_STEPS = 100
_PROPOSAL = 2  # purpose of the noise of the first draw of a latent step; further draws follow
_TOLERANCE = 10.0  # kJ/mol/nm, where a minimisation ends if it does not reach the energy before


@dataclass(frozen=True)
class ReplicaAlternateJob(Alternation):
    """Latent steps in one batch, and MD with the replica kernel."""

    @cached_property
    def propagator(self) -> Propagator:
        """The model, in the order of the molecule's atoms."""
        return self.loaded(self.model)

    def load(self) -> None:
        """Load the model."""
        assert self.propagator

    def moved(self, group: tuple[int, ...]) -> MovedBatch:
        """Walkers at the minimised structure, or where an earlier session left them."""
        moved = MovedBatch(self.prepared, self.propagator, group, seed=self.settings.seed, energies=self.energies)
        if group[0] in self.states:
            moved.restore(self.states[group[0]])
        return moved


class MovedBatch:
    """Positions, velocities and kinds of walkers, moved by latent steps and by MD; a `Moved`.

    What follows a latent step is what `AlternatingIntegrator.hand_to_md` does: minimisation of structures that MD would
    never show, down to the median energy of MD (by forces where `energies` is None), then a short Langevin run of
    strong friction that counts no time.
    """

    def __init__(
        self,
        prepared: Prepared,
        propagator: Propagator,
        walkers: Sequence[int],
        *,
        seed: int,
        energies: EnergyRange | None,
    ) -> None:
        self.walkers, self.seed, self.limits = list(walkers), seed, energies
        self.propagator, self.molecule = propagator, prepared.molecule
        start = np.repeat(np.asarray(prepared.reference, np.float64)[None], len(self.walkers), axis=0)
        self._engine = self._made(start, self.walkers)
        self._engine.constrain()
        self._engine.draw_velocities()
        self._masses = self._engine.masses
        self.latent_steps = 0
        self.kinds = ["md"] * len(self.walkers)
        self.counts = {"minimised": 0, "replaced_by_md": 0}

    def _made(self, positions: Doubles, numbers: Sequence[int]) -> Replicas:
        temperature = self.molecule.protocol.temperature
        return replica_engine(
            self.molecule.system, positions, temperature=temperature, seed=self.seed, numbers=numbers, threads=1
        )

    @property
    def positions(self) -> Doubles:
        """Positions in nm, shape (walkers, atoms, 3)."""
        return self._engine.positions

    def energies(self) -> Doubles:
        """Potential energies in kJ/mol, shape (walkers,)."""
        return self._engine.energies()

    def arrays(self) -> Arrays:
        """What decides how the walkers go on."""
        state = self._engine.state()
        return {
            "positions": state.positions,
            "velocities": state.velocities,
            "draw": np.array(state.draw),
            "latent steps": np.array(self.latent_steps),
            "kinds": np.array(self.kinds),
        }

    def keep(self, frames: int, cycle: int, ended: bool) -> Callable[[], Arrays]:
        """The function of `Moved.keep`, which is possible after every frame."""
        return self.arrays

    def restore(self, state: State) -> None:
        """Go back to a state that was kept."""
        found = state.arrays
        temperatures = self._engine.temperatures
        self._engine.restore(
            ReplicaState(found["positions"], found["velocities"], temperatures, draw=int(found["draw"]))
        )
        self.latent_steps, self.kinds = int(found["latent steps"]), found["kinds"].tolist()
        self.counts = dict(state.counts)

    def jump(self, duration: float) -> Ints:
        """Make a latent step of so many ps; places of the walkers that stay, as no sound structure was drawn."""
        x = self._engine.positions
        left: Ints = np.arange(len(x))
        for draw in range(MAX_DRAWS):
            noise: Any = _RowNoise(
                [noise_generator(self.seed, self.walkers[k], self.latent_steps, _PROPOSAL + draw) for k in left]
            )
            proposed = self.propagator.propose(x[left], duration, noise, self._masses)
            sound = np.all(list(self.propagator.checks(proposed).values()), axis=0)
            x[left[sound]] = proposed[sound]
            left = left[~sound]
            if not len(left):
                break
        self.latent_steps += 1
        self.counts["replaced_by_md"] += len(left)
        stay = set(left.tolist())
        self.kinds = [kind if k in stay else "latent" for k, kind in enumerate(self.kinds)]
        self._engine.set_positions(x)
        self._engine.constrain()
        return left

    def run_md(self, rows: Ints, duration: float) -> None:
        """Run MD of so many ps of the walkers in these places, after settling those that a latent step moved last."""
        protocol = self.molecule.protocol
        jumped = np.array([row for row in rows if self.kinds[row] == "latent"], dtype=np.int64)
        if len(jumped):
            self._hand_to_md(jumped)
        engine = self._taken(rows)
        engine.langevin(round(duration / protocol.timestep), timestep=protocol.timestep, friction=protocol.friction)
        self._put(engine, rows)
        if engine.broken().any():
            walker = self.walkers[rows[int(np.argmax(engine.broken()))]]
            raise ValueError(
                f"MD of walker {walker} gave positions that are not finite; its structure after a latent step is too "
                "strained, or the time step is too long for the molecule"
            )

    def _hand_to_md(self, rows: Ints) -> None:
        engine = self._taken(rows)
        engine.draw_velocities()
        self._put(engine, rows)
        for row in rows:
            self.kinds[row] = "md"
        strained = rows[self._strained(engine)]
        if len(strained):
            held = self._taken(strained)
            velocities = held.velocities
            held.minimize(
                _MINIMISER_STEPS, tolerance=_TOLERANCE, enough=None if self.limits is None else self.limits.median
            )
            held.set_velocities(velocities)
            held.constrain()
            self._put(held, strained)
            self.counts["minimised"] += len(strained)
            for row in strained:
                self.kinds[row] = "relaxed"
        self._settle(rows)

    def _strained(self, engine: Replicas) -> NDArray[np.bool_]:
        if self.limits is not None:
            return np.asarray(self.limits.above(engine.energies()))
        return np.asarray(np.linalg.norm(engine.forces(), axis=2).max(axis=1) > MAX_FORCE)

    def _settle(self, rows: Ints) -> None:
        """Langevin dynamics of strong friction, with the centres of mass put back where they were."""
        engine = self._taken(rows)
        share = self._masses / self._masses.sum()
        before = np.einsum("a,rad->rd", share, engine.positions)
        engine.langevin(SETTLE_STEPS, timestep=self.molecule.protocol.timestep, friction=SETTLE_FRICTION)
        moved = np.einsum("a,rad->rd", share, engine.positions) - before
        engine.set_positions(engine.positions - moved[:, None])
        self._put(engine, rows)

    def _taken(self, rows: Ints) -> Replicas:
        """An engine of some of the walkers: that of all where these are all."""
        if len(rows) == len(self.walkers):
            return self._engine
        state = self._engine.state()
        engine = self._made(state.positions[rows], [self.walkers[row] for row in rows])
        engine.set_velocities(state.velocities[rows])
        engine.draw = state.draw
        return engine

    def _put(self, engine: Replicas, rows: Ints) -> None:
        """Take the walkers of `_taken` back; random numbers that they drew are not drawn again."""
        if engine is self._engine:
            return
        positions, velocities = self._engine.positions, self._engine.velocities
        positions[rows], velocities[rows] = engine.positions, engine.velocities
        self._engine.set_positions(positions)
        self._engine.set_velocities(velocities)
        self._engine.draw = engine.draw


class _RowNoise:
    """Normal numbers of rows, each from a generator of its own."""

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self._generators = generators

    def standard_normal(self, size: tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
        """Normal numbers of a shape (rows, ...)."""
        return np.stack([g.standard_normal(size[1:], dtype=dtype) for g in self._generators])
