"""Job of a worker process: latent rollouts, decoded at every frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles
from latentmd.replicas.choice import replica_engine
from latentmd.sampling.run.clock import PhaseClock
from latentmd.sampling.run.processes import Emit
from latentmd.sampling.walkers.jobs import WalkerJob
from latentmd.sampling.walkers.resume import Pacer, State
from latentmd.systems.builder import Molecule

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

_TRIES = 4  # times that unsound structures are decoded again
_BLOCK = 1_000_000  # atoms in the frames that one block of a latent rollout decodes


@dataclass(frozen=True)
class LatentJob(WalkerJob):
    """Latent rollouts of walkers in batches, decoded at every frame.

    Attributes:
        model: name or path.
        batches: the walkers, in the groups that are rolled out together.
    """

    model: str = ""
    batches: tuple[tuple[int, ...], ...] = ()

    def run(self, emit: Emit, stopped: Callable[[], bool]) -> None:
        """Roll out, decode and write batch by batch, block by block."""
        clock, pacer = PhaseClock(), Pacer()
        with clock("start"):
            from latentmd.model.propagator import Propagator

            propagator = self.arranged(Propagator(self.model, self.settings.device, threads=1))
            failed = self.checker()
        with clock("plain MD for comparison"):
            self.emit_speed(emit)
        for batch in self.batches:
            state = self.states.get(batch[0])
            with ExitStack() as stack:
                writers = [stack.enter_context(self.writer(walker, state)) for walker in batch]
                for block in self._blocks(propagator, batch, state, clock):
                    times = self.settings.interval * np.arange(block.first + 1, block.end + 1)
                    positions, energies, kind = self._finished(block, batch, clock)
                    for column, (walker, writer) in enumerate(zip(batch, writers, strict=True)):
                        frames, values = positions[:, column], energies[:, column]
                        with clock("output"):
                            writer.write(frames, times)
                            rows = zip(times, [kind] * len(frames), values, failed(frames, values), strict=True)
                            emit("frames", walker=walker, rows=list(rows))
                    if block.end == self.settings.frames or pacer.due():
                        sizes = tuple(writer.size for writer in writers)
                        emit("state", state=State(batch, block.end, sizes, {"latent": block.latent}))
                    if stopped():
                        return
        emit("phases", seconds=clock.seconds)

    def _decoded(self, propagator: Propagator, path: Any, rng: np.random.Generator, masses: Doubles) -> Doubles:
        """Structures of latents; where they are to be settled, unsound ones are decoded again, a few times."""
        decoded = propagator.decode(path, rng, self.prepared.reference, masses)
        for _ in range(_TRIES if self.settings.settle else 0):
            unsound = np.flatnonzero(~np.all(list(propagator.checks(decoded).values()), axis=0))
            if not len(unsound):
                break
            decoded[unsound] = propagator.decode(path[unsound], rng, self.prepared.reference, masses)
        return decoded

    def _finished(self, block: _Block, batch: tuple[int, ...], clock: PhaseClock) -> tuple[Doubles, Doubles, str]:
        """Positions (frames, walkers, atoms, 3), energies (frames, walkers) and kind of the frames of a block."""
        count, shape = len(block.positions), block.positions.shape
        flat = block.positions.reshape(-1, *shape[2:])
        if not self.settings.settle:
            with clock("energies"):
                return (
                    block.positions,
                    replica_engine(self.molecule.system, flat).energies().reshape(shape[:2]),
                    "latent",
                )
        with clock("settling"):
            frames = np.repeat(np.arange(block.first, block.end), len(batch))
            positions, energies = self.settled(flat, list(batch) * count, frames.tolist())
        return positions.reshape(shape), energies.reshape(shape[:2]), "settled"

    def _blocks(
        self, propagator: Propagator, batch: tuple[int, ...], state: State | None, clock: PhaseClock
    ) -> Iterator[_Block]:
        """Decoded blocks of a batch in turn, from its state on."""
        import torch

        from latentmd.core.noise import noise_generator

        masses = _masses(self.molecule)
        steps, lag = propagator.split_time(self.settings.interval)
        if state is None:
            done, slow = 0, propagator.encode(np.repeat(self.prepared.reference[None], len(batch), axis=0))
        else:
            done, slow = state.frames, torch.from_numpy(state.arrays["latent"]).to(propagator.device)
        block = int(max(1, min(100, _BLOCK // (len(batch) * len(masses)))))
        while done < self.settings.frames:
            count = min(block, self.settings.frames - done)
            rng = noise_generator(self.settings.seed, batch[0], step=done)
            with clock("latent steps"):
                path = propagator.rollout(slow, lag, steps * count, rng, every=steps)
                slow = path[-1]
            with clock("decoding"):
                decoded = self._decoded(propagator, path.flatten(0, 1), rng, masses)
            yield _Block(done, decoded.reshape(count, len(batch), len(masses), 3), slow.cpu().numpy())
            done += count


@dataclass(frozen=True)
class _Block:
    """Frames of a batch: index of the first, positions in nm (frames, walkers, atoms, 3), and the last latent."""

    first: int
    positions: Doubles
    latent: NDArray[Any]

    @property
    def end(self) -> int:
        """Frames of each walker after this block."""
        return self.first + len(self.positions)


def _masses(molecule: Molecule) -> Doubles:
    system = molecule.system
    return np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
