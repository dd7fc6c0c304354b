"""Latent steps and MD by turns: how they and the frames saved fit into a cycle, and the job that follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from latentmd.arrays import Doubles, Ints
from latentmd.model.manifest import Manifest, split_time
from latentmd.model.peptide_file import PeptideManifest
from latentmd.sampling.run.clock import PhaseClock
from latentmd.sampling.run.options import WalkerOptions
from latentmd.sampling.run.preparation import Arrays
from latentmd.sampling.walkers.jobs import Keep, MadeFrames, WalkerJob
from latentmd.units import format_time

_CYCLE = 1000.0  # default length of a cycle, ps


@dataclass(frozen=True)
class Segment:
    """Part of a cycle, of so many ps; a frame may be saved at its end."""

    kind: Literal["latent", "md"]
    duration: float
    save: bool


def cycle_plan(length: float, burst: float, interval: float) -> list[Segment]:
    """Segments of one cycle: latent steps, the last of them shortened so that MD ends the cycle exactly. Times in ps.

    Example:
        >>> [(s.kind, s.duration) for s in cycle_plan(300.0, 2.0, 100.0)]
        [('latent', 100.0), ('latent', 100.0), ('latent', 98.0), ('md', 2.0)]
    """
    plan, now, turn = [], 0.0, length - burst
    for frame in range(1, round(length / interval) + 1):
        end = frame * interval
        if now < turn - 1e-9:
            step = min(end, turn)
            plan.append(Segment("latent", step - now, step > end - 1e-9))
            now = step
        if now < end - 1e-9:
            plan.append(Segment("md", end - now, True))
            now = end
    return plan


def cycle_length(s: WalkerOptions, manifest: Manifest | PeptideManifest, timestep: float) -> float:
    """Length of a cycle in ps: as asked for, or about 1 ns; the time step of the MD is in ps too.

    ValueError where the model has no step of a length that the cycle needs, or the MD in it is no number of time steps.
    """
    lags = f"{format_time(manifest.lag[0])} to {format_time(manifest.lag[1])}"
    try:
        split_time(s.interval, manifest.lag)
    except ValueError as error:
        raise ValueError(
            f"--save-every is {format_time(s.interval)}; the model's steps are {lags}: expected a multiple of a step "
            f"in that range, such as {format_time(manifest.lag[1])}"
        ) from error
    if s.mode == "latent":
        return s.interval
    cycle = s.cycle if s.cycle is not None else s.interval * max(1, round(min(_CYCLE, s.time) / s.interval))
    if abs(round(cycle / s.interval) * s.interval - cycle) > 1e-6 or cycle < s.interval * (1 - 1e-9):
        raise ValueError(
            f"--cycle is {format_time(cycle)}; expected a multiple of --save-every, {format_time(s.interval)}"
        )
    if not timestep <= s.burst < cycle:
        raise ValueError(f"--burst is {format_time(s.burst)}; expected less than the cycle, {format_time(cycle)}")
    if abs(round(s.burst / timestep) * timestep - s.burst) > 1e-6:
        raise ValueError(
            f"--burst is {format_time(s.burst)}; expected a multiple of the time step, {format_time(timestep)}"
        )
    for segment in cycle_plan(cycle, s.burst, s.interval):
        if segment.kind == "latent":
            try:
                split_time(segment.duration, manifest.lag)
            except ValueError as error:
                raise ValueError(
                    f"with --burst {format_time(s.burst)} the last latent step of a cycle would be "
                    f"{format_time(segment.duration)}; the model's steps are {lags}: change --burst"
                ) from error
    return cycle


class Moved(Protocol):
    """Walkers that latent steps and MD move together.

    Attributes:
        kinds: what moved each walker last: "latent", "md", or "relaxed" for MD after a minimisation.
        counts: walkers "minimised", and latent steps "replaced_by_md".
    """

    kinds: list[str]
    counts: dict[str, int]

    @property
    def positions(self) -> Doubles:
        """Copy of the positions in nm, shape (walkers, atoms, 3)."""

    def energies(self) -> Doubles:
        """Potential energies in kJ/mol, shape (walkers,)."""

    def jump(self, duration: float) -> Ints:
        """Make a latent step of so many ps; places of the walkers for which no sound structure was drawn."""

    def run_md(self, rows: Ints, duration: float) -> None:
        """Run MD of the walkers at some places, relaxed before where a latent step moved them last; ps."""

    def keep(self, frames: int, cycle: int, ended: bool) -> Callable[[], Arrays] | None:
        """A function that gives the arrays to go on from after so many frames; None where that cannot be from here.

        A cycle has `cycle` frames; `ended` says whether these are all.
        """


@dataclass(frozen=True)
class Alternation(WalkerJob):
    """Latent steps and MD by turns, in cycles of so many ps, of the walkers of a batch together.

    A batch depends on the number of walkers alone, and random numbers belong to the seed, the walker and the step, so
    that results depend neither on the number of processes nor on where a run was stopped.
    """

    cycle: float = 1000.0

    def moved(self, group: tuple[int, ...]) -> Moved:
        """Walkers at the minimised structure, or where an earlier session left them."""
        raise NotImplementedError

    def blocks(self, group: tuple[int, ...], stopped: Callable[[], bool], clock: PhaseClock) -> Iterator[MadeFrames]:
        """Frames cycle by cycle."""
        s, state = self.settings, self.states.get(group[0])
        with clock("MD"):
            moved = self.moved(group)
        plan, done = cycle_plan(self.cycle, s.burst, s.interval), 0 if state is None else state.frames
        while done < s.frames:
            made = []
            for segment in plan:
                _advance(moved, segment, clock)
                if segment.save:
                    made.append((moved.positions, moved.energies(), list(moved.kinds)))
            positions, energies, kinds = zip(*made[: s.frames - done], strict=True)
            x, potential = np.array(positions), np.array(energies)
            if s.settle:
                with clock("settling"):
                    self._settle(group, done, (x, potential), kinds)
            done += len(x)
            arrays = moved.keep(done, len(made), done == s.frames)
            yield MadeFrames(x, potential, kinds, _states(group, arrays), moved.counts)

    def _settle(
        self, group: tuple[int, ...], done: int, frames: tuple[Doubles, Doubles], kinds: Sequence[list[str]]
    ) -> None:
        """Settle the decoded structures of a cycle, all together; the walkers go on from where they were."""
        places = [(i, k) for i, row in enumerate(kinds) for k, kind in enumerate(row) if kind == "latent"]
        if not places:
            return
        at = tuple(np.transpose(places))
        positions, energies = frames
        positions[at], energies[at] = self.settled(
            positions[at], [group[k] for _, k in places], [done + i for i, _ in places]
        )
        for i, k in places:
            kinds[i][k] = "settled"


def _states(group: tuple[int, ...], arrays: Callable[[], Arrays] | None) -> Keep | None:
    return None if arrays is None else lambda: {group: arrays()}


def _advance(moved: Moved, segment: Segment, clock: PhaseClock) -> None:
    """Move walkers by a segment; MD covers the time of those for which no sound structure was drawn."""
    left: Ints = np.arange(len(moved.kinds))
    if segment.kind == "latent":
        with clock("latent steps"):
            left = moved.jump(segment.duration)
    if len(left):
        with clock("MD"):
            moved.run_md(left, segment.duration)
