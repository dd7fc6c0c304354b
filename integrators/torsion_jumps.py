"""Exact jumps of torsions in any OpenMM simulation, explicit water included: nonequilibrium candidate Monte Carlo.

A structure with other torsions cannot be put into water: it would overlap with molecules that stood elsewhere. So a
jump steers the torsions there while the water follows, and is accepted by the work that this took (Nilmeier et al.,
PNAS 108, E1009, 2011). A centre s of restraints, which is no coordinate of the system, carries the proposal, so that no
Jacobian appears: with restraints U_r(x, s) = -k sum_j cos(s_j - theta_j(x)) on torsions theta_j the extended target

    pi(x, s) ~ exp(-beta (U(x) + U_r(x, s))) = pi(x) prod_j von Mises(s_j; theta_j(x), beta k) * constant

has the marginal pi(x). One jump

1. draws s from its von Mises density around the present torsions, and s' from a table q(s' | s);
2. moves the centre from s to s' along the shorter arc in equal parts, P K P ... K P, of which P moves it and K is a run
   of the integrator with the restraints on: a schedule that is the same when read backwards;
3. sums the work W of all P, U_r at the new centre minus U_r at the old one;
4. is accepted with probability min(1, exp(-beta W) q(s | s') / q(s' | s)); else the positions are put back and the
   velocities turned round, as detailed balance asks where velocities are kept.

K is taken to keep its distribution, as in plain MD: the error of the finite time step is not corrected. A barostat
rests during a jump.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from latentmd.arrays import Doubles
from latentmd.integrators.leapfrog import beta_of, kick_of, share_kick, turn_round
from latentmd.integrators.openmm_integrator import as_integer, as_number
from latentmd.integrators.torsion_blocks import TorsionBlock
from latentmd.molecule.checks import torsions

#: Stiffness k of the restraints, kJ/mol/rad²: 5 degrees of spread at 300 K.
STIFFNESS = 300.0
#: Acceptance that `tune` looks for; jumps accepted per ps are most near 0.22 where work is Gaussian.
ACCEPTANCE = (0.2, 0.4)
_STRIDE = 10  # steps between moves of the centre
_TRIES = 9  # lengths that `tune` looks at
_STRENGTH, _PROGRESS, _BLOCK = "latentmd_jump_stiffness", "latentmd_jump_progress", "latentmd_jump_block"
_STATE = ("number", "steps", "length", "stiffness", "tried", "accepted", "seed")


@dataclass(frozen=True)
class Jump:
    """What one jump did: times in ps, torsions in radians, work in kJ/mol, infinite where the run failed: a rejection.

    `start`, `target` and `end` are torsions before, where the centre was sent, and when it had arrived; `log_ratio` is
    ln q(s | s') / q(s' | s), `log_acceptance` ln of the probability to accept.
    """

    number: int
    time: float
    block: str
    start: tuple[float, ...]
    target: tuple[float, ...]
    end: tuple[float, ...]
    length: float
    work: float
    log_ratio: float
    log_acceptance: float
    accepted: bool

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Jump:
        """A jump from its fields as JSON, which has lists for tuples."""
        fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
        return cls(**fields)


class JumpReport:
    """Writes every jump as a line of a CSV file: torsions in degrees, separated by blanks.

    The file is begun anew, or gone on with after a restart where `append`.
    """

    def __init__(self, path: str | Path, append: bool = False) -> None:
        self.path = path
        if not append:
            with open(path, "w", encoding="utf-8") as file:
                file.write(",".join(Jump.__dataclass_fields__) + "\n")

    def __call__(self, jump: Jump) -> None:
        """Append a jump."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(",".join(_text(value) for value in asdict(jump).values()) + "\n")


def _text(value: float | str | tuple[float, ...]) -> str:
    if isinstance(value, tuple):
        return " ".join(f"{np.rad2deg(angle):.1f}" for angle in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class TorsionJumps:
    """Exact jumps of torsions; call `jump`, or add it to `simulation.reporters` to jump every so many steps.

    Make it before the Simulation: it adds one force to the System, which is zero outside a jump. Reporters that stand
    before it report the frame before a jump, those after it the same frame: give it the last place.

    Args:
        system: any System.
        blocks: torsions to jump, such as `backbone_blocks(topology)`; one is chosen at random each time.
        length: of the steering, Quantity or ps; `tune` finds one.
        stiffness: k of the restraints, kJ/mol/rad².
        every: steps of MD between jumps where it is a reporter.
        report: called with every jump, such as `JumpReport("jumps.csv")`.
        seed: of the jumps; number n draws from (seed, n).

    Attributes:
        number: jumps tried so far.
        accepted: jumps accepted so far, by block.
        tried: jumps tried so far, by block.
        steps: steps that steering has taken so far, of which the simulation's step count knows nothing.

    Raises:
        TypeError: an argument of another type.
        ValueError: no blocks, two of one name, or numbers that are not positive.
    """

    def __init__(
        self,
        system: openmm.System,
        blocks: Sequence[TorsionBlock],
        *,
        length: unit.Quantity | float = 5.0,
        stiffness: float = STIFFNESS,
        every: int = 250,
        report: Callable[[Jump], None] | None = None,
        seed: int = 0,
    ) -> None:
        self.length = as_number(length, unit.picosecond, "length")
        self.stiffness, self.every, self.seed = stiffness, as_integer(every, "every"), as_integer(seed, "seed")
        if not (self.length > 0 and stiffness > 0 and self.every > 0):
            raise ValueError(f"length {self.length:g} ps, stiffness {stiffness:g}, every {every}; expected positive")
        self.blocks = list(blocks)
        names = [block.name for block in self.blocks]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"the blocks are named {names}; expected one block at least, and no name twice")
        self.report_jump = report
        self.number = self.steps = 0
        self.tried, self.accepted = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        self._force = self._add_force(system)

    def _add_force(self, system: openmm.System) -> openmm.CustomTorsionForce:
        force = openmm.CustomTorsionForce(f"-{_STRENGTH}*delta(block - {_BLOCK})*cos(theta - begin - {_PROGRESS}*turn)")
        for name in (_STRENGTH, _PROGRESS, _BLOCK):
            force.addGlobalParameter(name, 0.0)
        for name in ("block", "begin", "turn"):
            force.addPerTorsionParameter(name)
        for number, block in enumerate(self.blocks):
            for quad in block.quads.tolist():
                force.addTorsion(*quad, [number, 0.0, 0.0])
        force.setUsesPeriodicBoundaryConditions(system.usesPeriodicBoundaryConditions())
        force.setName("LatentTorsionJumps")
        self._group = next(
            group for group in range(31, -1, -1) if group not in {f.getForceGroup() for f in system.getForces()}
        )
        force.setForceGroup(self._group)
        system.addForce(force)
        return force

    def __repr__(self) -> str:
        accepted = f"{sum(self.accepted.values())} of {self.number} accepted"
        return f"TorsionJumps({len(self.blocks)} blocks, {self.length:g} ps, {accepted})"

    def jump(self, simulation: app.Simulation) -> Jump:
        """Try one jump; time and step count of the simulation stay.

        The simulation is made of the System, with a LangevinMiddleIntegrator or LangevinIntegrator.
        """
        context = simulation.context
        beta, rng = beta_of(context), np.random.default_rng((self.seed, self.number))
        before = context.getState(positions=True, velocities=True, forces=True)
        block, start, centre, target = self._proposal(before, beta, rng)
        turn = _shortest(target - centre)
        try:
            with _resting(context):
                work = self._steer(context, block, centre, turn)
            after = context.getState(positions=True)
            ratio = block.table.log_density(centre, target) - block.table.log_density(target, centre)
            log_acceptance = min(0.0, ratio - beta * work)
            accepted = bool(np.log(rng.random()) < log_acceptance)
        except BaseException:  # such as Ctrl-C: nothing of an unfinished jump stays
            turn_round(context, before)
            raise
        if accepted:
            context.setTime(before.getTime())
            context.setStepCount(before.getStepCount())
        else:
            turn_round(context, before)
        self.tried[block.name] += 1
        self.accepted[block.name] += accepted
        begin, goal, end = (tuple(angles.tolist()) for angles in (start, _shortest(target), _angles(after, block)))
        time = before.getTime().value_in_unit(unit.picosecond)
        how: dict[str, Any] = {"work": work, "log_ratio": ratio, "log_acceptance": log_acceptance, "accepted": accepted}
        made = Jump(self.number, time, block.name, begin, goal, end=end, length=self.length, **how)
        self.number += 1
        if self.report_jump is not None:
            self.report_jump(made)
        return made

    def _proposal(
        self, state: openmm.State, beta: float, rng: np.random.Generator
    ) -> tuple[TorsionBlock, Doubles, Doubles, Doubles]:
        """A block, its torsions, where the centre begins, and where it is to go."""
        block = self.blocks[int(rng.integers(len(self.blocks)))]
        start = _angles(state, block)
        centre = start + rng.vonmises(0.0, beta * self.stiffness, len(start))
        return block, start, centre, block.table.draw(centre, rng)

    def _steer(self, context: openmm.Context, block: TorsionBlock, centre: Doubles, turn: Doubles) -> float:
        """Move the centre with the restraints on; the work in kJ/mol, infinite where the run fails."""
        integrator = context.getIntegrator()
        runs = max(1, round(self.length / integrator.getStepSize().value_in_unit(unit.picosecond) / _STRIDE))
        chosen = [other.name for other in self.blocks].index(block.name)
        first = sum(len(other.quads) for other in self.blocks[:chosen])
        for i, quad in enumerate(block.quads.tolist()):
            self._force.setTorsionParameters(first + i, *quad, [chosen, centre[i], turn[i]])
        self._force.updateParametersInContext(context)
        context.setParameter(_BLOCK, chosen)
        work, ends, per_mass = 0.0, {0: self.stiffness, runs: 0.0}, kick_of(context)
        try:
            for number, (old, new) in enumerate(pairwise(_shares(runs))):
                before = context.getState(positions=True, velocities=True, forces=True, groups={self._group})
                angles = _angles(before, block) - centre
                work += self.stiffness * float((np.cos(angles - old * turn) - np.cos(angles - new * turn)).sum())
                context.setParameter(_PROGRESS, new)
                context.setParameter(_STRENGTH, ends.get(number, self.stiffness))
                share_kick(context, before, self._group, per_mass)
                if number < runs:
                    integrator.step(_STRIDE)
                    self.steps += _STRIDE
        except openmm.OpenMMException as error:
            if "NaN" not in str(error):
                raise
            return float("inf")
        finally:
            context.setParameter(_STRENGTH, 0.0)
        return work if np.isfinite(work) else float("inf")

    def tune(
        self,
        simulation: app.Simulation,
        trials: int = 10,
        longest: unit.Quantity | float = 40.0,
        stopped: Callable[[], bool] = lambda: False,
    ) -> tuple[float, float]:
        """Find length and stiffness of steering for an acceptance within `ACCEPTANCE`, and keep them.

        Trials steer there and back, and put everything back: half of both works is what is dissipated one way, whatever
        the free energies of both ends are. Where work is Gaussian and both ends are equally populated a jump that
        dissipates W is accepted with probability erfc(sqrt(W / kT) / 2); a rare end is entered less often, by its
        population. What wall time cut short leaves the best that was seen.

        Args:
            simulation: as of `jump`.
            trials: ways there and back for each setting that is tried.
            longest: length to stop at, Quantity or ps.
            stopped: asked after each trial; once it is true, the best setting so far is kept.

        Returns:
            The length in ps, and the acceptance that is expected at it.
        """
        most, (low, high) = as_number(longest, unit.picosecond, "longest"), ACCEPTANCE
        seen: dict[tuple[float, float], float] = {}
        while len(seen) < _TRIES:
            rate = seen[self.length, self.stiffness] = self._expected(simulation, trials, stopped)
            factor = 1.6 if rate < low else 0.6 if rate > high else 1.0
            following = min(most, self.length * factor)
            if stopped() or (following, self.stiffness) in seen:
                break
            self.length = following
        found, stiffness = self.length, self.stiffness
        for other in (stiffness / 3, 3 * stiffness):
            if not stopped():
                self.stiffness = other
                seen[found, other] = self._expected(simulation, trials, stopped)
        within = {setting: rate for setting, rate in seen.items() if setting[0] == found} or seen
        self.length, self.stiffness = max(within, key=lambda setting: within[setting])
        return self.length, within[self.length, self.stiffness]

    def _expected(self, simulation: app.Simulation, trials: int, stopped: Callable[[], bool]) -> float:
        """Acceptance by the median dissipation of ways there and back, with MD between them."""
        context, lost = simulation.context, list[float]()
        beta, rng = beta_of(context), np.random.default_rng((self.seed, 2**32 + self.steps))
        while len(lost) < trials and not (lost and stopped()):
            before = context.getState(positions=True, velocities=True, forces=True)
            block, _, centre, target = self._proposal(before, beta, rng)
            turn = _shortest(target - centre)
            try:
                with _resting(context):
                    works = [self._steer(context, block, *way) for way in ((centre, turn), (centre + turn, -turn))]
            finally:
                turn_round(context, before)
            lost.append(beta * sum(works) / 2)
            simulation.step(self.every)
        return math.erfc(math.sqrt(max(float(np.median(lost)), 0.0)) / 2)

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, object]:
        """Ask to be called after `every` steps of MD."""
        return {"steps": self.every - simulation.currentStep % self.every, "periodic": None, "include": []}

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Try a jump."""
        self.jump(simulation)

    def state(self) -> str:
        """What a restart needs beside a checkpoint of the simulation, as JSON."""
        return json.dumps({name: getattr(self, name) for name in _STATE})

    def set_state(self, state: str) -> None:
        """Go on after a restart, from what `state` gave when the checkpoint was written."""
        try:
            kept = json.loads(state)
            values = {name: kept[name] for name in _STATE}
            blocks = sorted(kept["tried"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{state[:40]!r} is no state of torsion jumps, which `state()` gives") from None
        if blocks != sorted(self.tried):
            raise ValueError(f"the state is of the blocks {blocks}, here are {sorted(self.tried)}")
        for name, value in values.items():
            setattr(self, name, value)


def _shares(runs: int) -> Doubles:
    """Places of the centre between its ends: a move before the first run and one after the last, all alike."""
    return np.linspace(0.0, 1.0, runs + 2)


def _angles(state: openmm.State, block: TorsionBlock) -> Doubles:
    return np.asarray(torsions(state.getPositions(asNumpy=True)._value[None], block.quads)[0], dtype=np.float64)


@contextmanager
def _resting(context: openmm.Context) -> Iterator[None]:
    """Keep barostats from changing the box: OpenMM asks the force itself for its frequency at every step."""
    barostats = [f for f in context.getSystem().getForces() if "Barostat" in type(f).__name__]
    kept = [force.getFrequency() for force in barostats]
    for force in barostats:
        force.setFrequency(0)
    try:
        yield
    finally:
        for force, frequency in zip(barostats, kept, strict=True):
            force.setFrequency(frequency)


def _shortest(angles: Doubles) -> Doubles:
    """Angles modulo a full turn, in [-pi, pi)."""
    return np.asarray((angles + np.pi) % (2 * np.pi) - np.pi)
