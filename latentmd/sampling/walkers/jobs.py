"""Jobs of worker processes: what all walkers share, and plain MD."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Floats
from latentmd.core.noise import noise_generator
from latentmd.io.writer import FrameWriter
from latentmd.molecule.checks import check_frames, structure_template
from latentmd.replicas.choice import replica_engine, unsupported
from latentmd.replicas.settle import EnergyRange, settle
from latentmd.sampling.run.options import WalkerOptions
from latentmd.sampling.run.preparation import Prepared
from latentmd.sampling.run.processes import Emit
from latentmd.sampling.walkers.folder import trajectory_path
from latentmd.sampling.walkers.resume import Pacer, State, States
from latentmd.systems.builder import WATER, Molecule
from latentmd.systems.dynamics import Frames, MdSettings, Phase, run_md
from latentmd.systems.molecule import time_platform

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

Checker = Callable[[NDArray[Any], NDArray[Any]], list[str]]

_SETTLING = 102  # purpose of the noise that settles a frame
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
        energies: that MD of the molecule shows; None for plain MD.
    """

    prepared: Prepared
    settings: WalkerOptions
    folder: Path
    walkers: list[int]
    states: States = field(default_factory=dict)
    energies: EnergyRange | None = None

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

    def checker(self) -> Checker:
        """A function from frames (frames, atoms, 3) and energies (frames,) to the names of checks that each fails."""
        topology = self.molecule.topology
        atoms = [atom.index for atom in topology.atoms() if atom.residue.name not in WATER]
        if len(atoms) < topology.getNumAtoms():
            from latentmd.integrators.openmm_selection import sub_topology

            topology = sub_topology(topology, atoms)
        template = structure_template(topology, self.prepared.reference[atoms])

        def failed(positions: NDArray[Any], energies: NDArray[Any]) -> list[str]:
            passed = check_frames(np.asarray(positions, dtype=np.float64)[:, atoms], template)
            if self.energies is not None:
                passed["energy"] = ~self.energies.far(energies)
            return [" ".join(name for name, ok in passed.items() if not ok[i]) for i in range(len(positions))]

        return failed

    def settled(self, positions: Doubles, walkers: Sequence[int], frames: Sequence[int]) -> tuple[Doubles, Doubles]:
        """Settle decoded structures; the numbers of walker and frame decide the noise of each.

        Args:
            positions: nm, shape (structures, atoms, 3).
            walkers: of each structure.
            frames: of each structure, within its walker.

        Returns:
            Positions in nm and potential energies in kJ/mol, shape (structures,).
        """
        assert self.energies is not None
        protocol, seed = self.molecule.protocol, self.settings.seed
        seeds = [
            int(noise_generator(seed, walker, step=frame, purpose=_SETTLING).integers(2**63))
            for walker, frame in zip(walkers, frames, strict=True)
        ]
        return settle(
            self.molecule.system, positions, energies=self.energies, temperature=protocol.temperature,
            timestep=protocol.timestep, seeds=seeds,
        )  # fmt: skip

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
    engine = replica_engine(molecule.system, positions, temperature=protocol.temperature, threads=1)
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
                    rows = zip(block.times, kinds, block.energies, failed(block.positions, block.energies), strict=True)
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
        settings = MdSettings(
            self.settings.frames,
            self.settings.interval,
            seed=self.settings.seed,
            walker=walker,
            platform=self.prepared.platform,
            threads=self.prepared.threads,
            chunk=self.chunk,
            equilibration=self.settings.equilibration,
        )
        return run_md(self.molecule, settings, phase, stopped)
