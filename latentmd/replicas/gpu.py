"""The replica engine where there is a GPU: Langevin dynamics by the CUDA kernel, everything else in the lanes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from latentmd.arrays import Floats, Ints
from latentmd.replicas.cuda import CudaDevice, CudaReplicas, Device
from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.library import SWITCH
from latentmd.replicas.replicas import check_steps

if TYPE_CHECKING:
    import openmm


@cache
def cuda_device() -> Device | None:
    """The GPU of this process; None where CuPy or a device is missing, or the switch leaves the work to the CPU."""
    if os.environ.get(SWITCH) in ("off", "cpu") or find_spec("cupy") is None:
        return None
    try:
        return CudaDevice()
    except RuntimeError:  # CuPy without a device
        return None


class CudaEngine(ReplicaEngine):
    """A `ReplicaEngine` whose Langevin dynamics runs on a GPU, in single precision about each replica's centre.

    Energies, minimisation, Hamiltonian moves and stretches with restraints stay in the lanes. Noise on the GPU is a
    function of (seed, number of the replica, draw, atom), so that a replica is the same whatever is beside it.

    Args:
        system: OpenMM System, of a kind that `read_terms` reads.
        positions: nm, shape (replicas, atoms, 3).
        device: where the kernel runs.
        temperature, seed, numbers, restraints, threads: as for `ReplicaEngine`.

    Raises:
        UnsupportedError: the kernels do not know a force, or the GPU's does not take so many atoms or such constraints.
    """

    def __init__(
        self,
        system: openmm.System,
        positions: Floats,
        device: Device,
        *,
        temperature: float | Floats = 300.0,
        seed: int | Sequence[int] = 0,
        numbers: Sequence[int] | None = None,
        restraints: Ints | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__(
            system,
            positions,
            temperature=temperature,
            seed=seed,
            numbers=numbers,
            restraints=restraints,
            threads=threads,
        )
        seeds = np.broadcast_to(np.asarray(seed, dtype=np.uint64), (self.replicas,)).tolist()
        ids = range(self.replicas) if numbers is None else [int(number) for number in numbers]
        keys = [np.random.SeedSequence(pair).generate_state(1, np.uint64)[0] for pair in zip(seeds, ids, strict=True)]
        self._gpu = CudaReplicas(
            [self.terms],
            np.zeros(self.replicas, np.int32),
            seeds=np.array(keys, np.uint64),
            temperature=self.temperatures,
            device=device,
        )
        self.variant = "CUDA"

    def langevin(self, steps: int, *, timestep: float, friction: float) -> None:
        """Langevin dynamics on the GPU, in the lanes while torsions are held; see `Replicas`.

        The kernel knows no removal of the centre-of-mass motion. Where the System asks for it, the centre is put back
        and its velocity taken away after each stretch: no other coordinate depends on either.

        Args:
            steps: number of time steps.
            timestep: ps.
            friction: 1/ps.
        """
        check_steps(steps, timestep)
        if not steps or self._stiffness.any():
            super().langevin(steps, timestep=timestep, friction=friction)
            return
        start, share = self.positions, self.masses / self.masses.sum()
        centres = np.einsum("a,rad->rd", share, start)[:, None]
        self._gpu.set_temperature(self.temperatures)
        self._gpu.set_step(self._next(steps))
        self._gpu.set_positions(list(start - centres))
        self._gpu.set_velocities(list(self.velocities))
        self._gpu.step(steps, timestep=timestep, friction=friction, recentre=False)
        moved, velocities = (np.array(x, np.float64) for x in (self._gpu.positions(), self._gpu.velocities()))
        if self._prepared.molecule.momentum_every:
            moved -= np.einsum("a,rad->rd", share, moved)[:, None]
            velocities -= np.einsum("a,rad->rd", share, velocities)[:, None]
        self.set_positions(moved + centres)
        self.set_velocities(velocities)
        self.constrain()
