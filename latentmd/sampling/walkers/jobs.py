"""Jobs of worker processes: one loop that writes what walkers make, and plain MD with OpenMM or the replica kernel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Bools, Doubles, Floats
from latentmd.core.noise import noise_generator
from latentmd.io.writer import FrameWriter
from latentmd.molecule.checks import check_frames, structure_template
from latentmd.replicas.choice import replica_engine, unsupported
from latentmd.replicas.replicas import Replicas, ReplicaState
from latentmd.replicas.settle import EnergyRange, settle
from latentmd.sampling.run.clock import Deadline, PhaseClock
from latentmd.sampling.run.options import WalkerOptions
from latentmd.sampling.run.preparation import Arrays, Prepared
from latentmd.sampling.run.processes import Emit
from latentmd.sampling.walkers.folder import PAUSE, State, States, trajectory_path
from latentmd.systems.builder import WATER, Molecule
from latentmd.systems.dynamics import MdSettings, Phase, advance, run_md
from latentmd.systems.molecule import time_platform

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

Checker = Callable[[NDArray[Any], NDArray[Any]], list[str]]

#: Arrays from which walkers go on, by their numbers.
Kept = Mapping[tuple[int, ...], Arrays]

_MINIMISATION = 500  # evaluations of the forces at most
_SETTLING = 102  # purpose of the noise that settles a frame
_SPEED_SECONDS = 0.5  # wall time of the plain MD that speeds are compared with


@dataclass(frozen=True)
class MadeFrames:
    """Frames that a group of walkers made together: positions (frames, walkers, atoms, 3) in nm, energies in kJ/mol.

    Kinds, (frames, walkers), are those of provenance.csv; `states` is None where walkers cannot go on from there.
    """

    positions: Floats
    energies: Doubles
    kinds: Sequence[Sequence[str]]
    states: Kept | None
    counts: Mapping[str, int] = field(default_factory=dict)
    left: NDArray[np.bool_] | None = None  # (frames, walkers): far from the training data


@dataclass(frozen=True)
class WalkerJob:
    """Work of one process for some of the walkers: `blocks` moves them, `run` writes and reports. Picklable.

    Attributes:
        states: where walkers were when an earlier session of the run ended; empty for a new run.
        energies: that MD of the molecule shows; None for plain MD.
        batches: the walkers in the groups that are moved together; each alone where empty.
        model: name or path; empty for plain MD.
    """

    prepared: Prepared
    settings: WalkerOptions
    folder: Path
    walkers: Sequence[int]
    states: States = field(default_factory=dict)
    energies: EnergyRange | None = None
    batches: tuple[tuple[int, ...], ...] = ()
    model: str = ""

    @cached_property
    def propagator(self) -> Propagator:
        """The model with its atoms in the order of the molecule's."""
        from latentmd.model.propagator import Propagator

        found = Propagator(self.model, self.settings.device, threads=1)
        return found.arranged(self.molecule.topology, self.prepared.reference)

    def groups(self) -> Iterable[tuple[int, ...]]:
        """Walkers that are moved together."""
        return self.batches or [(walker,) for walker in self.walkers]

    def blocks(self, group: tuple[int, ...], stopped: Callable[[], bool], clock: PhaseClock) -> Iterator[MadeFrames]:
        """Frames of a group of walkers from its state on; whether to stop is looked at after every block too."""
        raise NotImplementedError

    def run(self, emit: Emit, stopped: Callable[[], bool]) -> None:
        """Move the walkers group by group; write frames, and report them and the states to go on from."""
        clock, pause = PhaseClock(), Deadline(PAUSE)
        with clock("start"):
            assert not self.model or self.propagator  # loaded once for all groups
            failed = self.checker()
        if self.energies is not None:
            with clock("plain MD for comparison"):
                self.emit_speed(emit)
        for group in self.groups():
            with ExitStack() as stack:
                states = [self.states.get(walker, self.states.get(group[0])) for walker in group]
                writers = [stack.enter_context(self.writer(*pair)) for pair in zip(group, states, strict=True)]
                for block in self.blocks(group, stopped, clock):
                    with clock("output"):
                        self._write(block, dict(zip(group, writers, strict=True)), failed, emit)
                        done = writers[0].frames
                        if block.states is not None and (done == self.settings.frames or pause.over):
                            pause = Deadline(PAUSE)
                            for walkers, arrays in block.states.items():
                                sizes = tuple(writers[group.index(walker)].size for walker in walkers)
                                emit("state", state=State(walkers, done, sizes, arrays, dict(block.counts)))
                    if stopped():
                        return
            if stopped():
                return
        emit("phases", seconds=clock.seconds)

    def _write(self, block: MadeFrames, writers: Mapping[int, FrameWriter], failed: Checker, emit: Emit) -> None:
        for k, (walker, writer) in enumerate(writers.items()):
            count, positions, energies = len(block.positions), block.positions[:, k], block.energies[:, k]
            times = self.settings.interval * np.arange(writer.frames + 1, writer.frames + count + 1)
            writer.write(positions, times)
            kinds = [kinds[k] for kinds in block.kinds]
            names = failed(positions, energies)
            if block.left is not None:
                names = [
                    f"{name} data".strip() if left else name for name, left in zip(names, block.left[:, k], strict=True)
                ]
            emit("frames", walker=walker, rows=list(zip(times, kinds, energies, names, strict=True)))

    @property
    def molecule(self) -> Molecule:
        """The molecule."""
        return self.prepared.molecule

    def writer(self, walker: int, state: State | None = None) -> FrameWriter:
        """The walker's trajectory file, with the frames up to a state of its group."""
        path, box = trajectory_path(self.folder, walker), self.molecule.box()
        if state is None:
            return FrameWriter(path, box)
        return FrameWriter(path, box, state.frames, state.sizes[state.walkers.index(walker)])

    def checker(self) -> Checker:
        """A function from frames (frames, atoms, 3) and energies (frames,) to the names of checks that each fails."""
        checks = self.structure_checks()

        def failed(positions: NDArray[Any], energies: NDArray[Any]) -> list[str]:
            passed = checks(np.asarray(positions, dtype=np.float64))
            if self.energies is not None:
                passed["energy"] = ~self.energies.far(energies)
            return [" ".join(name for name, ok in passed.items() if not ok[i]) for i in range(len(positions))]

        return failed

    def structure_checks(self) -> Callable[[Doubles], dict[str, Bools]]:
        """A function from frames (frames, atoms, 3) to which of them pass each check, water aside."""
        topology = self.molecule.topology
        atoms = [atom.index for atom in topology.atoms() if atom.residue.name not in WATER]
        if len(atoms) < topology.getNumAtoms():
            from latentmd.integrators.openmm_selection import sub_topology

            topology = sub_topology(topology, atoms)
        template = structure_template(topology, self.prepared.reference[atoms])
        return lambda positions: check_frames(positions[:, atoms], template)

    def settled(self, positions: Doubles, walkers: Sequence[int], frames: Sequence[int]) -> tuple[Doubles, Doubles]:
        """Settle decoded structures (structures, atoms, 3) in nm; their energies in kJ/mol, shape (structures,).

        The walker of each and the number of its frame decide the noise.
        """
        assert self.energies is not None
        protocol, seeds = self.molecule.protocol, self.settling_seeds(walkers, frames)
        kelvin, timestep, energies = protocol.temperature, protocol.timestep, self.energies
        return settle(
            self.molecule.system, positions, energies=energies, temperature=kelvin, timestep=timestep, seeds=seeds
        )

    def settling_seeds(self, walkers: Sequence[int], frames: Sequence[int]) -> list[int]:
        """Seeds of the noise that settles frames of walkers."""
        return [
            int(noise_generator(self.settings.seed, walker, step=frame, purpose=_SETTLING).integers(2**63))
            for walker, frame in zip(walkers, frames, strict=True)
        ]

    def emit_speed(self, emit: Emit) -> None:
        """Measure plain MD on this process's core, in ps per second: with OpenMM, and with the replica engine."""
        rate = time_platform(self.molecule, self.prepared.platform, _SPEED_SECONDS, self.prepared.threads)
        emit("speed", engine="OpenMM", value=rate * self.molecule.protocol.timestep)
        if not unsupported(self.molecule.system):
            rate = replica_rate(self.molecule, self.prepared.reference, _SPEED_SECONDS)
            emit("speed", engine="replica engine", value=rate * self.molecule.protocol.timestep)


def replica_rate(molecule: Molecule, reference: Floats, seconds: float, replicas: int = 16) -> float:
    """Steps per second of the replica kernel on one core, all replicas together, timed for so many seconds at least."""
    protocol, positions = molecule.protocol, np.repeat(np.asarray(reference, np.float64)[None], replicas, axis=0)
    engine = replica_engine(molecule.system, positions, temperature=protocol.temperature, threads=1)
    engine.draw_velocities()
    steps, begin = 0, time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds:
        engine.langevin(50, timestep=protocol.timestep, friction=protocol.friction)
        steps += 50
    return steps * replicas / spent


@dataclass(frozen=True)
class MDJob(WalkerJob):
    """Plain MD, one walker after another, reported every `chunk` frames."""

    chunk: int = 100

    def blocks(self, group: tuple[int, ...], stopped: Callable[[], bool], clock: PhaseClock) -> Iterator[MadeFrames]:
        """Frames of one walker."""
        s, (walker,) = self.settings, group
        state = self.states.get(walker)
        phase = None if state is None else Phase(state.frames, state.arrays["positions"], state.arrays["velocities"])
        machine: dict[str, Any] = {"platform": self.prepared.platform, "threads": self.prepared.threads}
        run: dict[str, Any] = {"seed": s.seed, "chunk": self.chunk, "equilibration": s.equilibration}
        settings = MdSettings(s.frames, s.interval, walker=walker, **machine, **run)
        frames = run_md(self.molecule, settings, phase, stopped)
        while True:
            with clock("md"):
                block = next(frames, None)
            if block is None:
                return
            kinds, end = [["md"]] * len(block.times), block.end
            states = {group: {"positions": end.positions, "velocities": end.velocities}} if end else None
            yield MadeFrames(block.positions[:, None], block.energies[:, None], kinds, states)


@dataclass(frozen=True)
class ReplicaMDJob(WalkerJob):
    """Plain MD of several walkers at once, reported every `chunk` frames of all.

    Random numbers belong to the seed of the run and the number of a walker, so that a walker is the same whichever
    process it is in and whichever others are beside it.
    """

    chunk: int = 100

    def groups(self) -> Iterable[tuple[int, ...]]:
        """Walkers with equally many frames."""

        def done(walker: int) -> int:
            return self.states[walker].frames if walker in self.states else -1

        for _, group in groupby(sorted(self.walkers, key=lambda w: (done(w), w)), key=done):
            yield tuple(group)

    def blocks(self, group: tuple[int, ...], stopped: Callable[[], bool], clock: PhaseClock) -> Iterator[MadeFrames]:
        """Frames in chunks; a stop ends the last one, and leaves the engine in the middle of a frame."""
        interval = self.settings.interval
        with clock("md"):
            engine, done = self._engine(group)
            if done == 0 and not self._advance(engine, self.settings.equilibration, stopped):
                return
        while done < self.settings.frames:
            count, made = min(self.chunk, self.settings.frames - done), 0
            positions = np.empty((count, engine.replicas, len(engine.masses), 3), np.float32)
            energies = np.empty((count, engine.replicas))
            with clock("md"):
                while made < count and self._advance(engine, interval, stopped):
                    positions[made], energies[made] = engine.positions, engine.energies()
                    made += 1
            if made:
                whole = _each(group, engine.state()) if made == count else None
                yield MadeFrames(positions[:made], energies[:made], [["md"] * len(group)] * made, whole)
            if made < count:
                return
            done += count

    def _advance(self, engine: Replicas, time: float, stopped: Callable[[], bool]) -> bool:
        """Move all walkers by a time in ps; whether they got there."""
        protocol = self.molecule.protocol

        def step(steps: int) -> None:
            engine.langevin(steps, timestep=protocol.timestep, friction=protocol.friction)

        return advance(step, round(time / protocol.timestep), stopped)

    def _engine(self, walkers: tuple[int, ...]) -> tuple[Replicas, int]:
        """The engine of some walkers at time zero or at their states, and how many frames are done."""
        protocol, states = self.molecule.protocol, [self.states.get(walker) for walker in walkers]
        positions = np.repeat(np.asarray(self.prepared.reference, np.float64)[None], len(walkers), axis=0)
        kelvin, seed = protocol.temperature, self.settings.seed
        engine = replica_engine(
            self.molecule.system, positions, temperature=kelvin, seed=seed, numbers=walkers, threads=1
        )
        first = states[0]
        if first is not None:
            found = [state.arrays for state in states if state is not None]
            x, v = (np.array([arrays[name] for arrays in found]) for name in ("positions", "velocities"))
            engine.restore(ReplicaState(x, v, engine.temperatures, int(first.arrays["draw"])))
            return engine, first.frames
        engine.minimize(_MINIMISATION)
        engine.draw_velocities()
        return engine, 0


def _each(walkers: tuple[int, ...], state: ReplicaState) -> dict[tuple[int, ...], Arrays]:
    """Of each walker alone, since others may be beside it when it goes on."""
    return {
        (walker,): {"positions": x, "velocities": v, "draw": np.array(state.draw)}
        for walker, x, v in zip(walkers, state.positions, state.velocities, strict=True)
    }
