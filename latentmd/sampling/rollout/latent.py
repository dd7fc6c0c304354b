"""Job of a worker process: latent rollouts, decoded at every frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from latentmd.arrays import Doubles
from latentmd.sampling.clock import PhaseClock
from latentmd.sampling.processes import Emit
from latentmd.sampling.rollout.jobs import WalkerJob
from latentmd.sampling.rollout.resume import Pacer, State
from latentmd.systems.builder import Molecule

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

_BLOCK = 1_000_000  # atoms in the frames that one block of a latent rollout decodes


def check_device(device: str) -> None:
    """Refuse a device that torch does not see.

    Raises:
        ValueError: and what to use.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device is cuda, but torch sees no CUDA device here; use --device cpu or auto")


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

            check_device(self.settings.device)
            propagator = self.arranged(Propagator(self.model, self.settings.device, threads=1))
            context = self._context()
            failed = self.checker()
        with clock("plain MD for comparison"):
            self.emit_speed(emit)
        for batch in self.batches:
            state = self.states.get(batch[0])
            with ExitStack() as stack:
                writers = [stack.enter_context(self.writer(walker, state)) for walker in batch]
                for block in self._blocks(propagator, batch, state, clock):
                    times = self.settings.interval * np.arange(block.first + 1, block.end + 1)
                    for column, (walker, writer) in enumerate(zip(batch, writers, strict=True)):
                        frames = block.positions[:, column]
                        with clock("energies"):
                            energies = [_energy_at(context, frame) for frame in frames]
                            checks = failed(frames)
                        with clock("output"):
                            writer.write(frames, times)
                            rows = zip(times, ["latent"] * len(frames), energies, checks, strict=True)
                            emit("frames", walker=walker, rows=list(rows))
                    if block.end == self.settings.frames or pacer.due():
                        sizes = tuple(writer.size for writer in writers)
                        emit("state", state=State(batch, block.end, sizes, {"latent": block.latent}))
                    if stopped():
                        return
        emit("phases", seconds=clock.seconds)

    def _context(self) -> openmm.Context:
        integrator = self.molecule.langevin(self.settings.seed)
        return self.molecule.context(integrator, self.prepared.platform, self.prepared.threads)

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
                decoded = propagator.decode(path.flatten(0, 1), rng, self.prepared.reference, masses)
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


def _energy_at(context: openmm.Context, positions: Doubles) -> float:
    context.setPositions(positions)
    return float(context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def _masses(molecule: Molecule) -> Doubles:
    system = molecule.system
    return np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
