"""Latent rollouts, decoded at every frame: the job of a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from latentmd.arrays import Bools, Doubles, Ints
from latentmd.core.noise import noise_generator
from latentmd.replicas.choice import replica_engine
from latentmd.sampling.models import mended
from latentmd.sampling.run.clock import PhaseClock
from latentmd.sampling.walkers.jobs import MadeFrames, WalkerJob

_TRIES = 12  # times that unsound structures are decoded again
_MENDED = 8  # times that they are settled, drawn anew in between
_BLOCK = 1_000_000  # atoms in the frames that one block of a latent rollout decodes


@dataclass(frozen=True)
class LatentJob(WalkerJob):
    """Latent rollouts of walkers in batches, decoded at every frame.

    Where MD's energies are not known, no force field is: unsound frames alone are settled, by the bonded model of the
    data.
    """

    @cached_property
    def masses(self) -> Doubles:
        """Of the atoms, amu, shape (atoms,)."""
        system = self.molecule.system
        return np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])

    def blocks(self, group: tuple[int, ...], stopped: Callable[[], bool], clock: PhaseClock) -> Iterator[MadeFrames]:
        """Decoded frames of a batch."""
        s, propagator, state = self.settings, self.propagator, self.states.get(group[0])
        steps, lag = propagator.split_time(s.interval)
        if state is None:
            done, slow = 0, propagator.encode(np.repeat(self.prepared.reference[None], len(group), axis=0))
        else:
            done, slow = state.frames, torch.from_numpy(state.arrays["latent"]).to(propagator.device)
        marks = propagator.manifest.landmarks
        block = int(max(1, min(100, _BLOCK // (len(group) * len(self.masses)))))
        while done < s.frames:
            count = min(block, s.frames - done)
            rng = noise_generator(s.seed, group[0], step=done)
            with clock("latent steps"):
                path = propagator.rollout(slow, lag, steps * count, rng, every=steps)
                slow, path = path[-1], path.flatten(0, 1)
            with clock("decoding"):
                decoded = self._decoded(path, rng)
            kept, shape = {group: {"latent": slow.cpu().numpy()}}, (count, len(group))
            frames = np.repeat(np.arange(done, done + count), len(group)).tolist()
            finished = self._mended if self.energies is None else self._finished
            positions, energies, settled = finished(path, decoded, list(group) * count, frames, clock)
            kinds = np.where(settled, "settled", "latent").reshape(shape).tolist()
            left = None if marks is None else marks.distances(path.reshape(*shape, -1).cpu().numpy()) > marks.limit
            yield MadeFrames(positions.reshape(*shape, -1, 3), energies.reshape(shape), kinds, kept, left=left)
            done += count

    def structure_checks(self) -> Callable[[Doubles], dict[str, Bools]]:
        """Of what is written; where no force field is known, against bonds and angles of the data."""
        return self.propagator.checks if self.energies is None else super().structure_checks()

    def _decoded(self, path: Tensor, rng: np.random.Generator) -> Doubles:
        """Structures of latents; where they are to be settled, unsound ones are decoded again, a few times."""
        decoded, rows = self._drawn(path, rng), np.arange(len(path))
        for _ in range(_TRIES if self.settings.settle else 0):
            rows = rows[self._unsound(decoded[rows])]
            if not len(rows):
                break
            decoded[rows] = self._drawn(path[rows], rng)
        return decoded

    def _drawn(self, path: Tensor, rng: np.random.Generator) -> Doubles:
        return self.propagator.decode(path, rng, self.prepared.reference, self.masses)

    def _unsound(self, decoded: Doubles) -> Ints:
        return np.flatnonzero(~np.all(list(self.propagator.checks(decoded).values()), axis=0))

    def _finished(
        self, path: Tensor, decoded: Doubles, walkers: list[int], frames: list[int], clock: PhaseClock
    ) -> tuple[Doubles, Doubles, Bools]:
        """Positions (structures, atoms, 3), settled where that was asked for, energies, and which were settled."""
        if not self.settings.settle:
            with clock("energies"):
                energies = replica_engine(self.molecule.system, decoded).energies()
                return decoded, energies, np.zeros(len(decoded), dtype=bool)
        with clock("settling"):
            return *self.settled(decoded, walkers, frames), np.ones(len(decoded), dtype=bool)

    def _mended(
        self, path: Tensor, decoded: Doubles, walkers: list[int], frames: list[int], clock: PhaseClock
    ) -> tuple[Doubles, Doubles, Bools]:
        """The same where no force field is known: unsound structures settled by the bonded model of the data."""
        settled, known = np.zeros(len(decoded), dtype=bool), self.propagator.manifest.training.get("bonded")
        rows = np.arange(len(decoded))
        with clock("settling"):
            for attempt in range(_MENDED if known and self.settings.settle else 0):
                rows = rows[self._unsound(decoded[rows])]
                if not len(rows):
                    break
                seeds = self.settling_seeds([walkers[k] for k in rows], [frames[k] for k in rows])
                if attempt:  # a chain through a ring stays there: another drawing has to be mended
                    rng = np.random.default_rng([attempt, *seeds])
                    decoded[rows] = self._drawn(path[rows], rng)
                decoded[rows] = mended(self.propagator, decoded[rows], seeds)
                settled[rows] = True
        return decoded, np.full(len(decoded), np.nan), settled
