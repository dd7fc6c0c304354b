"""Job of a worker process: latent rollouts, decoded at every frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Doubles, Floats
from latentmd.core.noise import noise_generator
from latentmd.replicas.choice import replica_engine
from latentmd.sampling.run.clock import PhaseClock
from latentmd.sampling.walkers.jobs import Keep, MadeFrames, WalkerJob
from latentmd.systems.builder import Molecule

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

_TRIES = 4  # times that unsound structures are decoded again
_ALONE = 20  # the same where no engine can mend them
_BLOCK = 1_000_000  # atoms in the frames that one block of a latent rollout decodes


@dataclass(frozen=True)
class LatentJob(WalkerJob):
    """Latent rollouts of walkers in batches, decoded at every frame; without an engine no energies, and not settled."""

    model: str = ""
    engine: bool = True

    @cached_property
    def propagator(self) -> Propagator:
        """The model, in the order of the molecule's atoms."""
        return self.loaded(self.model)

    def load(self) -> None:
        """Load the model."""
        assert self.propagator

    def blocks(self, group: tuple[int, ...], stopped: Callable[[], bool], clock: PhaseClock) -> Iterator[MadeFrames]:
        """Decoded frames of a batch."""
        import torch

        s, propagator, state = self.settings, self.propagator, self.states.get(group[0])
        masses = _masses(self.molecule)
        steps, lag = propagator.split_time(s.interval)
        if state is None:
            done, slow = 0, propagator.encode(np.repeat(self.prepared.reference[None], len(group), axis=0))
        else:
            done, slow = state.frames, torch.from_numpy(state.arrays["latent"]).to(propagator.device)
        block = int(max(1, min(100, _BLOCK // (len(group) * len(masses)))))
        while done < s.frames:
            count = min(block, s.frames - done)
            rng = noise_generator(s.seed, group[0], step=done)
            with clock("latent steps"):
                path = propagator.rollout(slow, lag, steps * count, rng, every=steps)
                slow = path[-1]
            with clock("decoding"):
                decoded = self._decoded(propagator, path.flatten(0, 1), rng, masses)
            positions, energies = self._finished(decoded, group, done, clock)
            kinds = [["settled" if s.settle else "latent"] * len(group)] * count
            latent, shape = slow.cpu().numpy(), (count, len(group))
            yield MadeFrames(positions.reshape(*shape, -1, 3), energies.reshape(shape), kinds, _states(group, latent))
            done += count

    def _decoded(self, propagator: Propagator, path: Any, rng: np.random.Generator, masses: Doubles) -> Doubles:
        """Structures of latents; where they are to be settled, unsound ones are decoded again, a few times."""
        decoded = propagator.decode(path, rng, self.prepared.reference, masses)
        tries = _TRIES if self.engine else _ALONE
        for _ in range(tries if self.settings.settle or not self.engine else 0):
            unsound = np.flatnonzero(~np.all(list(propagator.checks(decoded).values()), axis=0))
            if not len(unsound):
                break
            decoded[unsound] = propagator.decode(path[unsound], rng, self.prepared.reference, masses)
        return decoded

    def _finished(
        self, decoded: Doubles, group: tuple[int, ...], first: int, clock: PhaseClock
    ) -> tuple[Doubles, Doubles]:
        """Positions (structures, atoms, 3), settled where that was asked for, and energies (structures,)."""
        if not self.engine:
            return decoded, np.full(len(decoded), np.nan)
        if not self.settings.settle:
            with clock("energies"):
                return decoded, replica_engine(self.molecule.system, decoded).energies()
        with clock("settling"):
            count = len(decoded) // len(group)
            frames = np.repeat(np.arange(first, first + count), len(group))
            return self.settled(decoded, list(group) * count, frames.tolist())


def _states(batch: tuple[int, ...], latent: Floats) -> Keep:
    return lambda: {batch: {"latent": latent}}


def _masses(molecule: Molecule) -> Doubles:
    system = molecule.system
    return np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
