"""Latent rollouts, decoded at every frame: the job of a worker, and runs of a solute that no engine can move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentmd.arrays import Bools, Doubles, Ints
from latentmd.core.noise import noise_generator
from latentmd.model.propagator import Propagator
from latentmd.replicas.choice import replica_engine
from latentmd.sampling.models import OneMolecule, check_conditions, mended, solute_molecule
from latentmd.sampling.run.clock import PhaseClock
from latentmd.sampling.run.options import WalkerOptions
from latentmd.sampling.run.preparation import Prepared
from latentmd.sampling.run.processes import Job
from latentmd.sampling.walkers.alternation import cycle_length
from latentmd.sampling.walkers.folder import States, unfinished
from latentmd.sampling.walkers.jobs import Checker, MadeFrames, WalkerJob
from latentmd.sampling.walkers.plan import RolloutPlan, batches, check_times, processes_for, request_of, share

_TRIES = 12  # times that unsound structures are decoded again
_MENDED = 8  # times that they are settled, drawn anew in between
_BLOCK = 1_000_000  # atoms in the frames that one block of a latent rollout decodes


@dataclass(frozen=True)
class LatentJob(WalkerJob):
    """Latent rollouts of walkers in batches, decoded at every frame.

    Without an engine there are no energies, and unsound frames alone are settled, by the bonded model of the data.
    """

    engine: bool = True

    def blocks(self, group: tuple[int, ...], stopped: Callable[[], bool], clock: PhaseClock) -> Iterator[MadeFrames]:
        """Decoded frames of a batch."""
        s, propagator, state = self.settings, self.propagator, self.states.get(group[0])
        system = self.molecule.system
        masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
        steps, lag = propagator.split_time(s.interval)
        if state is None:
            done, slow = 0, propagator.encode(np.repeat(self.prepared.reference[None], len(group), axis=0))
        else:
            done, slow = state.frames, torch.from_numpy(state.arrays["latent"]).to(propagator.device)
        marks = propagator.manifest.landmarks
        block = int(max(1, min(100, _BLOCK // (len(group) * len(masses)))))
        while done < s.frames:
            count = min(block, s.frames - done)
            rng = noise_generator(s.seed, group[0], step=done)
            with clock("latent steps"):
                path = propagator.rollout(slow, lag, steps * count, rng, every=steps)
                slow = path[-1]
            with clock("decoding"):
                decoded = self._decoded(propagator, path.flatten(0, 1), rng, masses)
            kept, shape = {group: {"latent": slow.cpu().numpy()}}, (count, len(group))
            frames = np.repeat(np.arange(done, done + count), len(group)).tolist()
            finished = self._finished if self.engine else partial(self._mended, propagator, path.flatten(0, 1), masses)
            positions, energies, settled = finished(decoded, list(group) * count, frames, clock)
            kinds = np.where(settled, "settled", "latent").reshape(shape).tolist()
            left = None if marks is None else marks.distances(path.flatten(2).cpu().numpy()) > marks.limit
            yield MadeFrames(positions.reshape(*shape, -1, 3), energies.reshape(shape), kinds, kept, left=left)
            done += count

    def checker(self) -> Checker:
        """Checks of what is written; where no engine knows the molecule, against bonds and angles of the data."""
        if self.engine:
            return super().checker()

        def failed(positions: Doubles, energies: Doubles) -> list[str]:
            passed = self.propagator.checks(positions)
            return [" ".join(name for name, ok in passed.items() if not ok[i]) for i in range(len(positions))]

        return failed

    def _decoded(self, propagator: Propagator, path: Tensor, rng: np.random.Generator, masses: Doubles) -> Doubles:
        """Structures of latents; where they are to be settled, unsound ones are decoded again, a few times."""
        decoded, rows = propagator.decode(path, rng, self.prepared.reference, masses), np.arange(len(path))
        for _ in range(_TRIES if self.settings.settle else 0):
            rows = rows[_unsound(propagator, decoded[rows])]
            if not len(rows):
                break
            decoded[rows] = propagator.decode(path[rows], rng, self.prepared.reference, masses)
        return decoded

    def _finished(
        self, decoded: Doubles, walkers: list[int], frames: list[int], clock: PhaseClock
    ) -> tuple[Doubles, Doubles, Bools]:
        """Positions (structures, atoms, 3), settled where that was asked for, energies, and which were settled."""
        if not self.settings.settle:
            with clock("energies"):
                energies = replica_engine(self.molecule.system, decoded).energies()
                return decoded, energies, np.zeros(len(decoded), dtype=bool)
        with clock("settling"):
            return *self.settled(decoded, walkers, frames), np.ones(len(decoded), dtype=bool)

    def _mended(
        self,
        propagator: Propagator,
        path: Tensor,
        masses: Doubles,
        decoded: Doubles,
        walkers: list[int],
        frames: list[int],
        clock: PhaseClock,
    ) -> tuple[Doubles, Doubles, Bools]:
        """The same where no engine knows the molecule: unsound structures settled by the bonded model of the data."""
        settled, known = np.zeros(len(decoded), dtype=bool), propagator.manifest.training.get("bonded")
        rows = np.arange(len(decoded))
        with clock("settling"):
            for attempt in range(_MENDED if known and self.settings.settle else 0):
                rows = rows[_unsound(propagator, decoded[rows])]
                if not len(rows):
                    break
                seeds = self.settling_seeds([walkers[k] for k in rows], [frames[k] for k in rows])
                if attempt:  # a chain through a ring stays there: another drawing has to be mended
                    rng = np.random.default_rng([attempt, *seeds])
                    decoded[rows] = propagator.decode(path[rows], rng, self.prepared.reference, masses)
                decoded[rows] = mended(propagator, decoded[rows], seeds)
                settled[rows] = True
        return decoded, np.full(len(decoded), np.nan), settled


def _unsound(propagator: Propagator, decoded: Doubles) -> Ints:
    return np.flatnonzero(~np.all(list(propagator.checks(decoded).values()), axis=0))


def solute_plan(source: Path, s: WalkerOptions, model: OneMolecule) -> RolloutPlan:
    """Check everything about latent rollouts of a solute, from the structure in a file.

    ValueError for a setting that needs MD, or a molecule that the model does not cover.
    """
    manifest = model.manifest
    if s.mode != "latent":
        raise ValueError(
            f"--mode {s.mode} needs MD of the solute, and the force field that {manifest.called} was trained in is not"
            " known or has explicit water; leave the option out for latent steps alone"
        )
    check_conditions(s, model)
    check_times(s.time, s.interval, manifest.timestep)
    cycle_length(s, manifest, manifest.timestep)
    molecule = solute_molecule(source, manifest, s.inputs.select)
    start: Doubles = np.array(molecule.positions._value, dtype=np.float64)
    prepared = Prepared(molecule, source, start, platform="none", threads=1, rate=0.0)
    request, count = request_of("simulate", s, prepared, model), processes_for(s.walkers, s.processes)
    jobs = partial(_jobs, model=model.name)
    plan = RolloutPlan("simulate", s, prepared=prepared, processes=count, make_jobs=jobs, request=request, model=model)
    plan.reference, plan.details = manifest, {"device": s.device, "settle": s.settle}
    return plan


def _jobs(plan: RolloutPlan, folder: Path, states: States, *, model: str) -> list[Job]:
    s = plan.settings
    shared: dict[str, Any] = {"states": states, "model": model, "engine": False}
    return [
        LatentJob(plan.prepared, s, folder, [k for group in part for k in group], batches=tuple(part), **shared)
        for part in share(unfinished(batches(s.walkers), states, s.frames), plan.processes)
    ]
