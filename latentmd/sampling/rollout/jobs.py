"""Jobs of worker processes: what all walkers share, and plain MD."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Floats
from latentmd.io.writer import FrameWriter
from latentmd.molecule.checks import check_frames, structure_template
from latentmd.replicas.choice import unsupported
from latentmd.replicas.engine import ReplicaEngine
from latentmd.sampling.preparation import Prepared
from latentmd.sampling.processes import Emit
from latentmd.sampling.request import RolloutSettings
from latentmd.sampling.rollout.folder import trajectory_path
from latentmd.sampling.rollout.resume import Pacer, State, States
from latentmd.systems.builder import WATER, Molecule
from latentmd.systems.dynamics import Frames, Phase, run_md
from latentmd.systems.platforms import time_platform

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

_SPEED_SECONDS = 0.5  # wall time of the plain MD that speeds are compared with


@dataclass(frozen=True)
class WalkerJob:
    """Work of one process for some of the walkers. Picklable.

    Attributes:
        prepared: the molecule, its platform and its minimised structure, which the structure checks compare with.
        settings: of the run.
        folder: where walker files go.
        walkers: numbers of this process's walkers.
        states: where walkers were when an earlier session of the run ended; empty for a new run.
    """

    prepared: Prepared
    settings: RolloutSettings
    folder: Path
    walkers: list[int]
    states: States = field(default_factory=dict)

    @property
    def molecule(self) -> Molecule:
        """The molecule."""
        return self.prepared.molecule

    def arranged(self, propagator: Propagator) -> Propagator:
        """A model with its atoms in the order of the molecule's."""
        return propagator.arranged(self.molecule.topology, self.prepared.reference)

    def writer(self, walker: int, state: State | None = None) -> FrameWriter:
        """The walker's trajectory file, with the frames up to a state of its group."""
        path, box = trajectory_path(self.folder, walker), self.molecule.box()
        return FrameWriter(path, box) if state is None else FrameWriter(path, box, state.frames, state.size(walker))

    def checker(self) -> Callable[[NDArray[Any]], list[str]]:
        """A function from frames (frames, atoms, 3) to the names of the checks that each fails."""
        topology = self.molecule.topology
        atoms = [atom.index for atom in topology.atoms() if atom.residue.name not in WATER]
        if len(atoms) < topology.getNumAtoms():
            from latentmd.integrators.openmm_selection import sub_topology

            topology = sub_topology(topology, atoms)
        template = structure_template(topology, self.prepared.reference[atoms])

        def failed(positions: NDArray[Any]) -> list[str]:
            passed = check_frames(np.asarray(positions, dtype=np.float64)[:, atoms], template)
            return [" ".join(name for name, ok in passed.items() if not ok[i]) for i in range(len(positions))]

        return failed

    def emit_speed(self, emit: Emit) -> None:
        """Measure plain MD on this process's core, in ps per second: with OpenMM, and with the replica engine."""
        rate = time_platform(self.molecule, self.prepared.platform, _SPEED_SECONDS, self.prepared.threads)
        emit("speed", value=rate * self.molecule.protocol.timestep)
        if not unsupported(self.molecule.system):
            rate = replica_rate(self.molecule, self.prepared.reference, _SPEED_SECONDS)
            emit("replica speed", value=rate * self.molecule.protocol.timestep)


def replica_rate(molecule: Molecule, reference: Floats, seconds: float, replicas: int = 16) -> float:
    """Measure the replica kernel on one core: steps per second, those of all replicas together.

    Args:
        molecule: with its protocol.
        reference: a relaxed structure, nm, shape (atoms, 3).
        seconds: wall time at least.
        replicas: at once.
    """
    protocol, positions = molecule.protocol, np.repeat(np.asarray(reference, np.float64)[None], replicas, axis=0)
    engine = ReplicaEngine(molecule.system, positions, temperature=protocol.temperature, threads=1)
    engine.draw_velocities()
    steps, begin = 0, time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds:
        engine.langevin(50, timestep=protocol.timestep, friction=protocol.friction)
        steps += 50
    return steps * replicas / spent


@dataclass(frozen=True)
class MDJob(WalkerJob):
    """Plain MD.

    Attributes:
        chunk: frames between reports.
    """

    chunk: int = 100

    def run(self, emit: Emit, stopped: Callable[[], bool]) -> None:
        """Simulate the walkers one after another."""
        failed, pacer = self.checker(), Pacer()
        start = time.perf_counter()
        for walker in self.walkers:
            state = self.states.get(walker)
            with self.writer(walker, state) as writer:
                for block in self._blocks(walker, state, stopped):
                    writer.write(block.positions, block.times)
                    kinds = ["md"] * len(block.times)
                    rows = zip(block.times, kinds, block.energies, failed(block.positions), strict=True)
                    emit("frames", walker=walker, rows=list(rows))
                    end = block.end
                    if end is not None and (end.frames == self.settings.frames or pacer.due()):
                        arrays = {"positions": end.positions, "velocities": end.velocities}
                        emit("state", state=State((walker,), end.frames, (writer.size,), arrays))
            if stopped():
                return
        emit("phases", seconds={"md": time.perf_counter() - start})

    def _blocks(self, walker: int, state: State | None, stopped: Callable[[], bool]) -> Iterator[Frames]:
        """Frames of a walker from a state on, in blocks."""
        phase = None if state is None else Phase(state.frames, state.arrays["positions"], state.arrays["velocities"])
        return run_md(
            self.molecule,
            self.settings.frames,
            self.settings.interval,
            seed=self.settings.seed,
            walker=walker,
            platform=self.prepared.platform,
            chunk=self.chunk,
            threads=self.prepared.threads,
            start=phase,
            equilibration=self.settings.equilibration,
            stopped=stopped,
        )
