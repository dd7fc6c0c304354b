"""Many replicas of small molecules on a GPU: the kernel of `dynamics.cu`, compiled at run time through CuPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Any, Protocol

import numpy as np

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.replicas.terms import Terms, maxwell_boltzmann, tables
from latentmd.units import GAS_CONSTANT

_RECENTRE, _PROJECT = 1, 2
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

    def launch(self, blocks: int, threads: int, shared: int, arguments: tuple[Any, ...]) -> None:
        """Start the kernel; launches that are started together may run at the same time.

        Args:
            blocks, threads: of the grid.
            shared: bytes of shared memory of a block.
            arguments: of the kernel.
        """

    def join(self) -> None:
        """Make later launches and copies wait for all earlier ones."""


class CudaDevice:
    """The current CUDA device."""

    def __init__(self, options: Sequence[str] = ("-maxrregcount=80",)) -> None:
        """Compile the kernel.

        Args:
            options: further options of NVRTC.

        Raises:
            RuntimeError: CuPy is missing or sees no GPU.
        """
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
        self._cupy = cupy
        self._kernel = cupy.RawModule(code=source(), options=tuple(options)).get_function("run")
        self._streams: list[Any] = []
        self._used = 0

    def put(self, array: Any) -> Any:
        """Copy a NumPy array to the device."""
        return self._cupy.asarray(array)

    def get(self, array: Any) -> Any:
        """Copy a device array to NumPy, after all launches."""
        return self._cupy.asnumpy(array)

    def launch(self, blocks: int, threads: int, shared: int, arguments: tuple[Any, ...]) -> None:
        """Start the kernel on a stream of its own.

        Args:
            blocks, threads: of the grid.
            shared: bytes of shared memory of a block.
            arguments: of the kernel.
        """
        if self._used == len(self._streams):
            self._streams.append(self._cupy.cuda.Stream(non_blocking=True))
        stream = self._streams[self._used]
        self._used += 1
        if self._used == 1:
            self._cupy.cuda.get_current_stream().synchronize()
        with stream:
            self._kernel((blocks,), (threads,), arguments, shared_mem=shared)

    def join(self) -> None:
        """Wait for every launch since the last call."""
        for stream in self._streams[: self._used]:
            stream.synchronize()
        self._used = 0


@dataclass(frozen=True)
class DeviceFrames:
    """Frames of all replicas of a run.

    Attributes:
        positions: device array (frames, atoms of all replicas, 3) of int16, pm.
        energies: device array (frames, replicas), kJ/mol.
    """

    positions: Any
    energies: Any


@dataclass(frozen=True)
class _Group:
    """Replicas whose molecules need the same number of threads."""

    order: Any
    blocks: int
    threads: int
    shared: int


class CudaReplicas:
    """Replicas of one or several molecules, each in a thread block of its own.

    What a replica does depends on its molecule, start, seed and temperature alone, not on its neighbours: forces are
    summed in a fixed order, and noise is a function of seed, step and atom.
    """

    def __init__(
        self,
        molecules: Sequence[Terms],
        which: Ints,
        *,
        seeds: Ints,
        temperature: Floats | float,
        device: Device | None = None,
        threads: int | None = None,
    ) -> None:
        """Lay out the replicas; positions are all zero until set.

        Args:
            molecules: the different molecules.
            which: index of each replica's molecule.
            seeds: of each replica's noise, non-negative.
            temperature: kelvin, of all or of each.
            device: where to run; the current CUDA device by default.
            threads: of a block; one per atom by default, rounded up to whole warps.

        Raises:
            ValueError: shapes do not fit, or a molecule is too large.
        """
        self.which = np.asarray(which, np.int32)
        if (
            self.which.ndim != 1
            or not len(self.which)
            or not 0 <= self.which.min() <= self.which.max() < len(molecules)
        ):
            raise ValueError(
                f"`which` has shape {self.which.shape}; expected one index below {len(molecules)} per replica"
            )
        if np.shape(seeds) != self.which.shape:
            raise ValueError(f"seeds have shape {np.shape(seeds)}; expected one per replica, {self.which.shape}")
        self.molecules = list(molecules)
        self.atoms = np.array([molecule.atoms for molecule in molecules])[self.which]
        self.offsets = np.concatenate([[0], np.cumsum(self.atoms)])
        self._device: Device = device or CudaDevice()
        put, total = self._device.put, int(self.offsets[-1])
        flat = tables(molecules)
        self._tables = [put(getattr(flat, field.name)) for field in fields(flat)]
        self._molecule = put(self.which)
        self._offset = put(self.offsets[:-1].astype(np.int64))
        self._position = put(np.zeros((total, 3), np.float32))
        self._velocity = put(np.zeros((total, 3), np.float32))
        self._force = put(np.zeros((total, 3), np.float32))
        self._energy = put(np.zeros((len(self.which), 2), np.float32))
        self._seed = put(np.asarray(seeds, np.uint64))
        self._step = put(np.zeros(len(self.which), np.uint64))
        self._groups = self._group(threads)
        self.set_temperature(temperature)

    def __len__(self) -> int:
        """Number of replicas."""
        return len(self.which)

    def _group(self, threads: int | None) -> list[_Group]:
        wanted = -(-self.atoms // _WARP) * _WARP if threads is None else np.full(len(self), threads)
        groups = []
        for count in sorted(set(wanted.tolist()), reverse=True):
            members = np.flatnonzero(wanted == count)
            members = members[np.argsort(-self.atoms[members], kind="stable")]
            words = _WORDS_PER_ATOM * (int(self.atoms[members].max()) + 3 & ~3) + count
            groups.append(_Group(self._device.put(members.astype(np.int32)), len(members), count, 4 * words))
        return groups

    def set_temperature(self, temperature: Floats | float) -> None:
        """Set the temperature of all replicas or of each, kelvin."""
        self.temperature = np.broadcast_to(np.asarray(temperature, np.float64), (len(self),)).copy()
        self._kT = self._device.put((GAS_CONSTANT * self.temperature).astype(np.float32))

    def set_step(self, step: int) -> None:
        """Set how many steps every replica has done, which its noise depends on."""
        self._step = self._device.put(np.full(len(self), step, np.uint64))

    def set_positions(self, positions: Sequence[Floats]) -> None:
        """Set the positions of every replica, each (atoms, 3) in nm."""
        self._position = self._device.put(self._joined(positions, "positions"))

    def set_velocities(self, velocities: Sequence[Floats]) -> None:
        """Set the velocities of every replica, each (atoms, 3) in nm/ps; those along constrained bonds are removed."""
        self._velocity = self._device.put(self._joined(velocities, "velocities"))
        self._run(0, 0, (0.001, 0.0), _PROJECT)

    def draw_velocities(self, rng: np.random.Generator) -> None:
        """Draw velocities at each replica's temperature."""
        self.set_velocities(
            [
                maxwell_boltzmann(self.molecules[m].mass, temperature, rng)
                for m, temperature in zip(self.which, self.temperature, strict=True)
            ]
        )

    def _joined(self, values: Sequence[Floats], name: str) -> Floats:
        if len(values) != len(self) or any(np.shape(v) != (n, 3) for v, n in zip(values, self.atoms, strict=False)):
            raise ValueError(
                f"{name} of {len(values)} replicas were given; expected {len(self)}, each of shape (atoms, 3)"
            )
        return np.concatenate([np.asarray(v, np.float32) for v in values])

    def step(
        self, steps: int, *, timestep: float, friction: float, every: int = 0, recentre: bool = True
    ) -> DeviceFrames | None:
        """Run LangevinMiddle steps.

        Args:
            steps: of every replica.
            timestep: ps.
            friction: 1/ps; 0 conserves the energy.
            every: steps between frames, a divisor of `steps`; 0 for none.
            recentre: keep every centroid at the origin.

        Returns:
            The frames, where any were asked for.
        """
        if steps < 1 or timestep <= 0 or friction < 0 or (every and steps % every):
            raise ValueError(
                f"steps {steps}, timestep {timestep}, friction {friction}, every {every}; expected at least one step, "
                "a positive time step, no negative friction, and frames at a divisor of the steps"
            )
        return self._run(steps, every, (timestep, friction), _RECENTRE if recentre else 0)

    def energies(self) -> Doubles:
        """Potential energy of every replica, kJ/mol."""
        self._run(0, 0, (0.001, 0.0), 0)
        return np.asarray(self._device.get(self._energy)[:, 0], np.float64)

    def forces(self) -> list[Floats]:
        """Forces of every replica, each (atoms, 3) in kJ/mol/nm."""
        self._run(0, 0, (0.001, 0.0), 0)
        return self._split(self._device.get(self._force))

    def kinetic_energies(self) -> Doubles:
        """Kinetic energy of every replica at the end of its last step, kJ/mol."""
        return np.asarray(self._device.get(self._energy)[:, 1], np.float64)

    def positions(self) -> list[Floats]:
        """Positions of every replica, each (atoms, 3) in nm."""
        return self._split(self._device.get(self._position))

    def velocities(self) -> list[Floats]:
        """Velocities of every replica, each (atoms, 3) in nm/ps."""
        return self._split(self._device.get(self._velocity))

    def _split(self, flat: Floats) -> list[Floats]:
        return np.split(np.asarray(flat), self.offsets[1:-1])

    def _run(self, steps: int, every: int, scheme: tuple[float, float], flags: int) -> DeviceFrames | None:
        timestep, friction = scheme
        keep = np.exp(-friction * timestep)
        count, total = steps // every if every else 0, int(self.offsets[-1])
        frames = self._device.put(np.zeros((max(count, 1), total if count else 1, 3), np.int16))
        energies = self._device.put(np.zeros((max(count, 1), len(self)), np.float32))
        state = [self._molecule, self._offset, self._position, self._velocity, self._force, self._energy]
        settings = (
            np.int64(total),
            np.int32(steps),
            np.int32(every),
            np.float32(timestep),
            np.float32(keep),
            np.float32(np.sqrt(max(0.0, 1 - keep * keep))),
            np.int32(flags),
            np.int32(len(self)),
        )
        for group in self._groups:
            arrays = [*self._tables, *state, self._kT, self._seed, self._step, group.order, frames, energies]
            self._device.launch(group.blocks, group.threads, group.shared, (*arrays, *settings))
        self._device.join()
        return DeviceFrames(frames, energies) if count else None
