"""Trajectories from files: streamed in blocks, with every frame checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentmd.io.ascii import ascii_path
from latentmd.molecule.chemistry import chemistry

_TIMELESS = frozenset((".dcd", ".pdb", ".xyz", ".npy", ".mdcrd", ".crd", ".binpos", ".arc"))
_OWN_TOPOLOGY = frozenset((".pdb", ".h5", ".lh5", ".hdf5", ".gro"))
_SPACING = 1e-3  # relative tolerance of frame spacing, beside the float32 rounding of stored times
# What mdtraj's readers raise for damaged or foreign files.
_READ_ERRORS = (OSError, RuntimeError, ValueError, TypeError, IndexError, KeyError, EOFError)


class TrajectoryError(ValueError):
    """A trajectory file that cannot be used; the message says why and what to do."""


class FrameBlock(NamedTuple):
    """Consecutive frames: positions float32 [frames, atoms, 3] nm and times float64 [frames] ps."""

    positions: NDArray[np.float32]
    times: NDArray[np.float64]


class TrajectoryReader:
    """One trajectory file, read in blocks of frames.

    Reads what mdtraj reads, and .npy arrays [frames, atoms, 3] in nm, which are memory mapped. Molecules that a
    periodic box cut are made whole.

    Args:
        path: the trajectory.
        top: PDB file, or mdtraj.Topology, or openmm.app.Topology of its atoms.
        interval: ps between frames, for formats without times (DCD, PDB, XYZ, NPY); ignored where the file has them.
        block: frames read at a time.

    Attributes:
        n_atoms: number of atoms.

    Raises:
        TrajectoryError: missing, empty or foreign file, or other atoms than the topology's. Iteration also raises it
            for damage, non-finite frames and irregular spacing.
    """

    def __init__(self, path: str | Path, top: Any, *, interval: float | None = None, block: int = 1000) -> None:
        self.path = Path(path)
        self.block = block
        self._topology = load_topology(top)
        self._given_interval = None if _has_times(self.path) else interval
        self._times: NDArray[np.float64] | None = None
        self.n_atoms: int = self._topology.n_atoms
        if not self.path.is_file():
            raise TrajectoryError(f"Trajectory {self.path} not found; check the path.")
        if self.path.stat().st_size == 0:
            raise TrajectoryError(f"Trajectory {self.path} is empty; was the run that writes it started?")
        self._check_atoms()

    @property
    def interval(self) -> float:
        """Time between frames in ps.

        Raises:
            TrajectoryError: the format has no times and no interval was given, or there are fewer than two frames.
        """
        if self._given_interval is not None:
            return self._given_interval
        if not _has_times(self.path):
            raise TrajectoryError(
                f"{self.path} is a {self.path.suffix} file, which carries no times; give the interval between frames."
            )
        times = self._times if self._times is not None else self._first_times()
        if len(times) < 2:
            raise TrajectoryError(f"{self.path} has {len(times)} frame; at least 2 are needed to know their spacing.")
        return float((times[-1] - times[0]) / (len(times) - 1))

    @property
    def times(self) -> NDArray[np.float64]:
        """Times of all frames in ps; reads the file through once."""
        if self._times is None:
            self._times = np.concatenate([part.times for part in self] or [np.empty(0)])
        return self._times

    @property
    def n_frames(self) -> int:
        """Number of frames; reads the file through once."""
        return len(self.times)

    def __iter__(self) -> Iterator[FrameBlock]:
        """Blocks of checked frames from the first to the last."""
        done, last, spacing = 0, math.nan, math.nan
        for positions, stored in self._blocks():
            self._check_frames(positions, done)
            if stored is None:
                times = np.asarray(np.arange(done, done + len(positions)) * (self._given_interval or 1.0), np.float64)
            else:
                times = stored
                joined = np.concatenate([[last], times]) if done else times
                if math.isnan(spacing) and len(joined) > 1:
                    spacing = float(joined[1] - joined[0])
                self._check_spacing(joined, spacing, max(done, 1))
            last = float(times[-1])
            done += len(positions)
            yield FrameBlock(positions, times)
        if not done:
            raise TrajectoryError(f"Trajectory {self.path} has no frames.")

    def positions(self) -> NDArray[np.float32]:
        """All frames [frames, atoms, 3] nm, checked; a read-only memory map for float32 .npy files."""
        if self.path.suffix == ".npy":
            array = self._open_array()
            if array.dtype == np.float32:
                self._times = np.concatenate([part.times for part in self])
                return array
        parts = list(self)
        self._times = np.concatenate([part.times for part in parts])
        return np.concatenate([part.positions for part in parts])

    def _blocks(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64] | None]]:
        if self.path.suffix == ".npy":
            array = self._open_array()
            for start in range(0, len(array), self.block):
                yield np.asarray(array[start : start + self.block], dtype=np.float32), None
            return
        done = 0
        try:
            for part in self._mdtraj_blocks():
                times = np.asarray(part.time, dtype=np.float64) if _has_times(self.path) else None
                if part.unitcell_vectors is not None and part.topology.n_bonds:
                    part.make_molecules_whole(inplace=True)
                yield np.ascontiguousarray(part.xyz, dtype=np.float32), times
                done += part.n_frames
        except TrajectoryError:
            raise
        except _READ_ERRORS as error:
            raise TrajectoryError(
                f"Trajectory {self.path} cannot be read after frame {done} ({_first_line(error)}): it is truncated,"
                f" damaged or not a {self.path.suffix} file. Write it again, or cut it after its last whole frame."
            ) from error

    def _mdtraj_blocks(self) -> Iterator[Any]:
        import mdtraj

        options = {} if self.path.suffix in _OWN_TOPOLOGY else {"top": self._topology}
        with ascii_path(self.path) as name:
            yield from mdtraj.iterload(name, chunk=self.block, **options)

    def _open_array(self) -> NDArray[np.float32]:
        try:
            array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except _READ_ERRORS as error:
            raise TrajectoryError(
                f"{self.path} is not a whole .npy file ({_first_line(error)}): it is truncated or damaged; write it"
                " again."
            ) from error
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind != "f":
            raise TrajectoryError(
                f"{self.path} holds a {array.dtype} array of shape {array.shape}; expected floats of shape"
                f" (frames, {self.n_atoms}, 3) in nm."
            )
        return np.asanyarray(array)

    def _first_times(self) -> NDArray[np.float64]:
        for part in self:
            return part.times
        return np.empty(0)

    def _check_atoms(self) -> None:
        if self.path.suffix == ".npy":
            found = self._open_array().shape[1]
        elif self.path.suffix in _OWN_TOPOLOGY:
            self._check_own_topology()
            return
        else:
            found = self._stored_atoms()
        if found != self.n_atoms:
            heavy = sum(atom.element.symbol != "H" for atom in self._topology.atoms)
            hint = " That is the number of heavy atoms: the hydrogens were not saved." if found == heavy else ""
            raise TrajectoryError(
                f"Trajectory {self.path} has {found} atoms, the topology has {self.n_atoms}"
                f" ({_residue_summary(self._topology)}).{hint} Give the topology that the trajectory was written with."
            )

    def _stored_atoms(self) -> int:
        import mdtraj

        try:
            with ascii_path(self.path) as name, mdtraj.open(name) as file:
                data = file.read(n_frames=1)
            self._check_dcd_header()
            return int((data[0] if isinstance(data, tuple) else data).shape[1])
        except TrajectoryError:
            raise
        except _READ_ERRORS as error:
            raise TrajectoryError(
                f"{self.path} cannot be read as a {self.path.suffix or 'trajectory'} file ({_first_line(error)}): it is"
                " truncated, damaged or of another format."
            ) from error

    def _check_dcd_header(self) -> None:
        """A DCD file states its number of frames; mdtraj silently stops at the end of a shorter file."""
        if self.path.suffix != ".dcd":
            return
        import mdtraj

        with open(self.path, "rb") as raw:
            header = raw.read(12)
        order = "<" if header[:4] == b"\x54\x00\x00\x00" else ">"
        claimed = int(np.frombuffer(header[8:12], dtype=f"{order}i4")[0])
        with ascii_path(self.path) as name, mdtraj.open(name) as file:
            held = len(file)
        if held < claimed:
            raise TrajectoryError(
                f"Trajectory {self.path} is truncated: its header states {claimed} frames, it holds {held}. Write it"
                " again, or save its whole frames to a new file."
            )

    def _check_own_topology(self) -> None:
        try:
            own = next(self._mdtraj_blocks()).topology
        except StopIteration:
            raise TrajectoryError(f"Trajectory {self.path} has no frames.") from None
        except _READ_ERRORS as error:
            raise TrajectoryError(
                f"{self.path} cannot be read as a {self.path.suffix} file ({_first_line(error)})."
            ) from error
        if own.n_atoms != self.n_atoms:
            raise TrajectoryError(
                f"Trajectory {self.path} has {own.n_atoms} atoms ({_residue_summary(own)}), the topology has"
                f" {self.n_atoms} ({_residue_summary(self._topology)})."
            )
        pairs = zip(own.atoms, self._topology.atoms, strict=True)
        differ = [f"{a} (topology: {b})" for a, b in pairs if a.element != b.element]
        if differ:
            shown = ", ".join(differ[:5]) + (f" and {len(differ) - 5} more" if len(differ) > 5 else "")
            raise TrajectoryError(
                f"Atoms of trajectory {self.path} differ from the topology: {shown}. Bring both into the same order."
            )

    def _check_frames(self, positions: NDArray[np.float32], done: int) -> None:
        bad = ~np.isfinite(positions).all(axis=(1, 2))
        if bad.any():
            frame = int(np.argmax(bad))
            atom = int(np.argmax(~np.isfinite(positions[frame]).all(axis=1)))
            raise TrajectoryError(
                f"Frame {done + frame} of {self.path} has a non-finite position (atom"
                f" {self._topology.atom(atom)}); the run that wrote it failed there. Cut the trajectory before it."
            )
        if self.n_atoms > 1:
            point = (positions == positions[:, :1]).all(axis=(1, 2))
            if point.any():
                raise TrajectoryError(
                    f"Frame {done + int(np.argmax(point))} of {self.path} has all atoms at one point: it was never"
                    " written. Cut the trajectory before it."
                )

    def _check_spacing(self, times: NDArray[np.float64], spacing: float, first: int) -> None:
        """Refuse a gap that is not `spacing`; the gap before frame `first` is the first of `times`."""
        gaps = np.diff(times)
        tolerance = _SPACING * abs(spacing) + 4 * float(np.finfo(np.float32).eps) * float(np.abs(times).max())
        bad = (np.abs(gaps - spacing) > tolerance) | (gaps <= 0)
        if bad.any():
            k = int(np.argmax(bad))
            raise TrajectoryError(
                f"Frames of {self.path} are not evenly spaced: frame {first + k} is at {times[k + 1]:g} ps,"
                f" {gaps[k]:g} ps after the one before; the first two are {spacing:g} ps apart. Split the trajectory"
                " there, or save it at one interval."
            )


def load_positions(
    paths: Sequence[str | Path], top: Any, interval: float | None = None
) -> tuple[list[NDArray[np.float32]], float]:
    """Positions of several trajectories of one molecule.

    Args:
        paths: trajectory files; each is one trajectory.
        top: PDB file, mdtraj.Topology or openmm.app.Topology.
        interval: ps between frames, for formats without times.

    Returns:
        One float32 array [frames, atoms, 3] in nm per file (a read-only memory map for .npy), and the interval in ps.

    Raises:
        TrajectoryError: as TrajectoryReader, for no files, and for files whose intervals differ.
    """
    if not paths:
        raise TrajectoryError("No trajectories given; expected at least one file.")
    topology = load_topology(top)
    arrays: list[NDArray[np.float32]] = []
    shared: float | None = None
    for path in paths:
        reader = TrajectoryReader(path, topology, interval=interval)
        own = reader.interval  # before the long read, so that a file without times fails at once
        arrays.append(reader.positions())
        own = reader.interval
        if shared is not None and abs(own - shared) > _SPACING * shared:
            raise TrajectoryError(
                f"Frames of {path} are {own:g} ps apart, those of {paths[0]} {shared:g} ps. Save all at one interval."
            )
        shared = own if shared is None else shared
    assert shared is not None
    return arrays, shared


def load_topology(top: Any) -> Any:
    """mdtraj.Topology from a PDB (or other mdtraj-readable) file, an mdtraj.Topology or an openmm.app.Topology.

    Raises:
        TrajectoryError: missing, empty or unreadable file.
        ValueError, TypeError: as `latentmd.molecule.chemistry.chemistry`.
    """
    import mdtraj

    if not isinstance(top, (str, Path)):
        chemistry(top)
        return top if isinstance(top, mdtraj.Topology) else mdtraj.Topology.from_openmm(top)
    path = Path(top)
    if not path.is_file():
        raise TrajectoryError(f"Topology {path} not found; check the path.")
    if path.stat().st_size == 0:
        raise TrajectoryError(f"Topology {path} is empty; expected a PDB file with ATOM records.")
    try:
        return mdtraj.load_topology(str(path))
    except _READ_ERRORS as error:
        raise TrajectoryError(
            f"Topology {path} cannot be read ({_first_line(error)}); expected a PDB file with ATOM records."
        ) from error


def _has_times(path: Path) -> bool:
    return path.suffix not in _TIMELESS


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _residue_summary(topology: Any) -> str:
    names = [residue.name for residue in topology.residues]
    return "-".join(names) if len(names) <= 8 else f"{'-'.join(names[:4])} and {len(names) - 4} more residues"
