"""The replica engine where there is a GPU: Langevin dynamics by `dynamics.cu` through CuPy, the rest in the lanes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Protocol, Unpack

import numpy as np
import openmm

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.library import SWITCH
from latentmd.replicas.replicas import Settings, check_steps
from latentmd.replicas.terms import Terms, tables
from latentmd.units import GAS_CONSTANT

_PROJECT = 2  # flag of the kernel: first remove the velocities along constrained bonds
_WORDS_PER_ATOM = 26  # of shared memory, SHARED_WORDS_PER_ATOM in the kernel
_WARP = 32


def source() -> str:
    """Text of the kernel."""
    return files("latentmd.replicas").joinpath("dynamics.cu").read_text(encoding="utf-8")


class Device(Protocol):
    """Where arrays live and the kernel runs: a GPU, or its emulation in the tests."""

    def put(self, array: Any) -> Any:
        """Copy a NumPy array to the device."""

    def get(self, array: Any) -> Any:
        """Copy a device array to NumPy, after all launches."""

    def launch(self, blocks: int, threads: int, shared: int, arguments: tuple[object, ...]) -> None:
        """Run the kernel on a grid, each block with `shared` bytes of shared memory."""


class CudaDevice:
    """The current CUDA device; RuntimeError where CuPy is missing or sees no GPU."""

    def __init__(self, options: Sequence[str] = ("-maxrregcount=80",)) -> None:
        """Compile the kernel, with further options of NVRTC."""
        try:
            import cupy
        except ImportError as error:
            raise RuntimeError(
                "CuPy is not installed; expected it for replicas on a GPU: pip install 'latentmd[cuda13]'"
            ) from error
        try:
            found = int(cupy.cuda.runtime.getDeviceCount())
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise RuntimeError(f"no CUDA device was found ({error}); run on the CPU instead") from error
        if not found:
            raise RuntimeError("no CUDA device was found; run on the CPU instead")
        self.put, self.get = cupy.asarray, cupy.asnumpy
        self._kernel = cupy.RawModule(code=source(), options=tuple(options)).get_function("run")

    def launch(self, blocks: int, threads: int, shared: int, arguments: tuple[object, ...]) -> None:
        """Run the kernel on a grid, each block with `shared` bytes of shared memory."""
        self._kernel((blocks,), (threads,), arguments, shared_mem=shared)


@cache
def cuda_device() -> Device | None:
    """The GPU of this process; None where CuPy or a device is missing, or the switch leaves the work to the CPU."""
    if os.environ.get(SWITCH) in ("off", "cpu"):
        return None
    try:
        return CudaDevice()
    except RuntimeError:
        return None


class CudaReplicas:
    """Replicas of one molecule, each in a thread block of its own, one thread for each atom unless told.

    Forces are summed in a fixed order, noise is of seed, step and atom: no replica depends on its neighbours.
    """

    def __init__(self, terms: Terms, seeds: Ints, device: Device, threads: int | None = None) -> None:
        count, atoms = len(seeds), terms.atoms
        self._shape, self._device = (count, atoms, 3), device
        self._threads = threads or -(-atoms // _WARP) * _WARP
        self._shared = 4 * (_WORDS_PER_ATOM * (atoms + 3 & ~3) + self._threads)
        self._tables = [device.put(table) for table in tables(terms).values()]
        self._molecule = device.put(np.zeros(count, np.int32))  # all are copies of the first, one after another
        self._offset = device.put(atoms * np.arange(count, dtype=np.int64))
        self._order = device.put(np.arange(count, dtype=np.int32))
        self._seed = device.put(np.asarray(seeds, np.uint64))
        self._force = device.put(np.zeros(self._shape, np.float32))
        self._energy = device.put(np.zeros((count, 2), np.float32))
        self._unused = device.put(np.zeros(1, np.int16)), device.put(np.zeros(1, np.float32))  # frames on the way

    def run(
        self,
        start: Floats,
        velocities: Floats,
        kelvin: Doubles,
        steps: int = 0,
        first: int = 0,
        timestep: float = 0.0,
        friction: float = 0.0,
        project: bool = True,
    ) -> tuple[Floats, Floats]:
        """Positions (replicas, atoms, 3) in nm and velocities in nm/ps after LangevinMiddle steps, by ps and 1/ps.

        `project` first removes velocities along constraints; noise counts from step `first`.
        """
        keep = np.exp(-friction * timestep)
        put, (count, atoms, _) = self._device.put, self._shape
        x, v = (put(np.asarray(values, np.float32)) for values in (start, velocities))
        kT = put((GAS_CONSTANT * np.broadcast_to(kelvin, count)).astype(np.float32))
        state = (self._molecule, self._offset, x, v, self._force, self._energy, kT, self._seed)
        scheme = np.array([timestep, keep, np.sqrt(max(0.0, 1 - keep * keep))], np.float32)
        flags = np.array([steps, 0, _PROJECT * project, count], np.int32)
        settings = (np.int64(count * atoms), *flags[:2], *scheme, *flags[2:])
        arrays = (*self._tables, *state, put(np.full(count, first, np.uint64)), self._order, *self._unused)
        self._device.launch(count, self._threads, self._shared, (*arrays, *settings))
        return self._device.get(x), self._device.get(v)

    @property
    def energies(self) -> Doubles:
        """Potential and kinetic energies at the end of the last run, kJ/mol, shape (replicas, 2)."""
        return np.asarray(self._device.get(self._energy), np.float64)

    @property
    def forces(self) -> Floats:
        """Forces at the end of the last run, kJ/mol/nm, shape (replicas, atoms, 3)."""
        return np.asarray(self._device.get(self._force))


class CudaEngine(ReplicaEngine):
    """A `ReplicaEngine` whose Langevin dynamics runs on a GPU, in single precision about each replica's centre.

    Energies, minimisation, Hamiltonian moves and stretches with restraints stay in the lanes. Noise on the GPU is a
    function of (seed, number of the replica, draw, atom), so that a replica is the same whatever is beside it.
    UnsupportedError also where the GPU's kernel does not take so many atoms or such constraints.
    """

    def __init__(
        self,
        system: openmm.System,
        positions: Floats,
        device: Device,
        *,
        threads: int = 1,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(system, positions, threads=threads, **settings)
        pairs = zip(self.seeds.tolist(), self.numbers.tolist(), strict=True)
        keys = [np.random.SeedSequence(pair).generate_state(1, np.uint64)[0] for pair in pairs]
        self._gpu = CudaReplicas(self.terms, np.array(keys, np.uint64), device)
        self.variant = "CUDA"

    def langevin(self, steps: int, *, timestep: float, friction: float) -> None:
        """Langevin dynamics on the GPU, in the lanes while torsions are held; see `Replicas`.

        The kernel leaves the centre of mass alone: where the System holds it, it is put back after each stretch.
        """
        check_steps(steps, timestep)
        if not steps or self._stiffness.any():
            super().langevin(steps, timestep=timestep, friction=friction)
            return
        start, share = self.positions, self.masses / self.masses.sum()
        centres = np.einsum("a,rad->rd", share, start)[:, None]
        begin = start - centres, self.velocities, self.temperatures
        ended = self._gpu.run(*begin, steps=steps, first=self._next(steps), timestep=timestep, friction=friction)
        moved, velocities = (np.array(x, np.float64) for x in ended)
        if self._prepared.molecule.momentum_every:
            moved -= np.einsum("a,rad->rd", share, moved)[:, None]
            velocities -= np.einsum("a,rad->rd", share, velocities)[:, None]
        self.set_positions(moved + centres)
        self.set_velocities(velocities)
        self.constrain()
