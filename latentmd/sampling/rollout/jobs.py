"""What one worker process does for some of the walkers; plain MD here, the jobs with a model in `latent_jobs`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles
from latentmd.io.outputs import FrameWriter
from latentmd.molecule.checks import check_frames, structure_template
from latentmd.sampling.workers import Emit
from latentmd.systems.builder import WATER, Molecule
from latentmd.systems.dynamics import run_md
from latentmd.systems.platforms import time_platform

_SPEED_SECONDS = 0.5  # of plain MD, for comparison


@dataclass(frozen=True)
class WalkerJob:
    """What the jobs share.

    Attributes:
        molecule: what to simulate.
        reference: minimised positions in nm, shape (atoms, 3), for the structure checks.
        folder: where walker files go.
        walkers: numbers of this process's walkers.
        frames: per walker.
        interval: between frames, ps.
        seed: of the run.
        platform: OpenMM platform.
        threads: of the CPU platform.
    """

    molecule: Molecule
    reference: Doubles
    folder: Path
    walkers: list[int]
    frames: int
    interval: float
    seed: int
    platform: str
    threads: int

    def writer(self, walker: int) -> FrameWriter:
        """The walker's trajectory file."""
        return FrameWriter(self.folder / f"walker-{walker:04d}.xtc", self.molecule.box())

    def checker(self) -> Callable[[NDArray[Any]], list[str]]:
        """A function from frames (frames, atoms, 3) to the names of the checks that each fails."""
        topology = self.molecule.topology
        atoms = [atom.index for atom in topology.atoms() if atom.residue.name not in WATER]
        if len(atoms) < topology.getNumAtoms():
            from latentmd.integrators.openmm_selection import sub_topology

            topology = sub_topology(topology, atoms)
        template = structure_template(topology, self.reference[atoms])

        def failed(positions: NDArray[Any]) -> list[str]:
            passed = check_frames(np.asarray(positions, dtype=np.float64)[:, atoms], template)
            return [" ".join(name for name, ok in passed.items() if not ok[i]) for i in range(len(positions))]

        return failed

    def emit_speed(self, emit: Emit) -> None:
        """Measure plain MD on this process's core, in ps per second."""
        rate = time_platform(self.molecule, self.platform, _SPEED_SECONDS, self.threads)
        emit("speed", value=rate * self.molecule.protocol.timestep)


@dataclass(frozen=True)
class MDJob(WalkerJob):
    """Plain MD.

    Attributes:
        chunk: frames between reports.
    """

    chunk: int = 100

    def run(self, emit: Emit, stopped: Callable[[], bool]) -> None:
        """Simulate the walkers one after another."""
        failed = self.checker()
        start = time.perf_counter()
        for walker in self.walkers:
            with self.writer(walker) as writer:
                blocks = run_md(
                    self.molecule,
                    self.frames,
                    self.interval,
                    seed=self.seed,
                    walker=walker,
                    platform=self.platform,
                    chunk=self.chunk,
                    threads=self.threads,
                )
                for block in blocks:
                    writer.write(block.positions, block.times)
                    kinds = ["md"] * len(block.times)
                    rows = zip(block.times, kinds, block.energies, failed(block.positions), strict=True)
                    emit("frames", walker=walker, rows=list(rows))
                    if stopped():
                        return
        emit("phases", seconds={"md": time.perf_counter() - start})
