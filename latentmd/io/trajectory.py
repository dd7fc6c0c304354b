"""Trajectories from files: streamed in blocks, with every frame checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import mdtraj
import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Bools, Floats, Ints
from latentmd.io.formats import FORMATS, suffix_of
from latentmd.io.trajectory_file import StoredBlock, TrajectoryError, TrajectoryFile
from latentmd.molecule.bonds import components, make_whole, nearest_steps, spanning_tree
from latentmd.molecule.checks import bond_lengths
from latentmd.molecule.chemistry import chemistry
from latentmd.units import first_line, format_time

if TYPE_CHECKING:
    from openmm import app

#: Where the names and bonds of atoms come from: a file, or a topology of mdtraj or OpenMM.
Top: TypeAlias = "str | Path | mdtraj.Topology | app.Topology"
_SPACING = 1e-3  # relative tolerance of frame spacing, beside the float32 rounding of stored times
_CUT = 1.8  # length of a bond over the sum of covalent radii at which it is none
_FOLDED = 0.5
_ALIKE = 2.0  # largest over smallest ratio of bonds to their usual lengths in another unit
_ROOM = 1.5  # size of a frame over its box: residues may have been moved into it one by one


class FrameBlock(NamedTuple):
    """Consecutive frames: positions float32 [frames, atoms, 3] nm and times float64 [frames] ps."""

    positions: NDArray[np.float32]
    times: NDArray[np.float64]


class TrajectoryReader:
    """One trajectory file, read in blocks of frames; TrajectoryError for other atoms, damage and irregular times.

    Reads the formats in `latentmd.io.formats`, packed by gzip or bzip2 or not: .npy arrays [frames, atoms, 3] in nm,
    which are memory mapped, text files of several programs, and what mdtraj reads. Molecules that a periodic box cut
    are made whole, and `molecules` (atoms of each) are brought to the images that are nearest. `interval` is the ps
    between frames of files without times. `strict` refuses it where the file has other times, and frames in which a
    molecule is in pieces; without, the file's times are used, and frames that may be wrong are read for what they are.
    `timeless`: the file says nothing about times, or the same time of every frame.
    """

    def __init__(
        self, path: str | Path, top: Top, *, interval: float | None = None, block: int = 1000, strict: bool = True,
        molecules: Sequence[Ints] = (),
    ) -> None:  # fmt: skip
        self.path, self._molecules = Path(path), molecules
        self._topology = load_topology(top)
        self._file = TrajectoryFile(self.path, suffix_of(self.path), self._topology, block)
        self._kind = FORMATS[self._file.suffix]
        self._bonds = _Bonds(self._topology)
        self._strict = strict
        self._times: NDArray[np.float64] | None = None
        self.n_atoms: int = self._topology.n_atoms
        self.timeless = self._finds_no_times()
        self._given_interval = interval if self.timeless else None
        if strict and interval is not None and abs(self.interval - interval) > _SPACING * interval:
            raise TrajectoryError(
                f"--interval is {format_time(interval)}, but {self.path} has its own times, a frame every"
                f" {format_time(self.interval)}: leave the option out."
            )

    @property
    def interval(self) -> float:
        """Time between frames in ps."""
        if self._given_interval is not None:
            return self._given_interval
        if self.timeless:
            lack = ", which carries no times" if self._kind == "never" else " without times"
            raise TrajectoryError(
                f"{self.path} is a {self._file.suffix} file{lack}; give the time between its frames, such as"
                " --interval 10ps (interval=10.0 in Python)."
            )
        times = next(iter(self)).times if self._times is None else self._times
        if len(times) < 2:
            raise TrajectoryError(f"{self.path} has {len(times)} frame; at least 2 are needed to know their spacing.")
        return float((times[-1] - times[0]) / (len(times) - 1))

    def __iter__(self) -> Iterator[FrameBlock]:
        """Blocks of checked frames from the first to the last."""
        done, last, spacing = 0, math.nan, math.nan
        for found, cells, stored in self._file.blocks():
            positions = self._bonds.whole(np.ascontiguousarray(found, dtype=np.float32), cells)
            positions = _together(positions, cells, self._molecules)
            self._check_frames(positions, done)
            if stored is None or self.timeless:
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
        mapped = self._file.mapped
        parts = [(part.times, part.positions if mapped is None else None) for part in self]
        self._times = np.concatenate([times for times, _ in parts])
        return mapped if mapped is not None else np.concatenate([x for _, x in parts if x is not None])

    def _finds_no_times(self) -> bool:
        if self._kind == "never":
            return True
        times = next(iter(self._file.blocks()), StoredBlock(np.empty((0, 0, 3)), None, np.empty(0))).times
        return times is None or (len(times) > 1 and float(np.ptp(times)) == 0.0)

    def _check_frames(self, positions: NDArray[np.float32], done: int) -> None:
        bad = ~np.isfinite(positions).all(axis=(1, 2))
        if bad.any():
            frame = int(np.argmax(bad))
            atom = int(np.argmax(~np.isfinite(positions[frame]).all(axis=1)))
            raise TrajectoryError(
                f"Frame {done + frame} of {self.path} has a non-finite position (atom"
                f" {self._topology.atom(atom)}); the run that wrote it failed there. Cut the trajectory before it."
            )
        point = (positions == positions[:, :1]).all(axis=(1, 2)) & (self.n_atoms > 1)
        if point.any():
            where = f"Frame {done + int(np.argmax(point))} of {self.path}"
            raise TrajectoryError(f"{where} has all atoms at one point: it was never written. Cut it off.")
        self._check_bonds(positions, done)

    def _check_bonds(self, positions: NDArray[np.float32], done: int) -> None:
        """Refuse another unit or order of atoms, and frames in which a molecule is in pieces."""
        ratios = self._bonds.ratios(positions)
        strange = self._bonds.strange(ratios)
        pieces = (ratios > _CUT).any(axis=1) if self._strict else np.zeros(len(positions), dtype=bool)
        if strange is None and not pieces.any():
            return
        frame = 0 if strange is not None else int(np.argmax(pieces))
        worst = strange if strange is not None else int(np.argmax(ratios[frame]))
        a, b = (self._topology.atom(int(i)) for i in self._bonds.pairs[worst])
        length = float(ratios[frame, worst] * self._bonds.usual[worst])
        raise TrajectoryError(
            f"Frame {done + frame} of {self.path} has a bond of {length:.2g} nm from {a} to {b}, where about"
            f" {self._bonds.usual[worst]:.2g} nm are usual: {_reason(ratios[frame], length)}."
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
    paths: Sequence[str | Path], top: Top, interval: float | None = None, strict: bool = True,
    atoms: Ints | None = None, molecules: Sequence[Ints] = (),
) -> tuple[list[NDArray[np.float32]], float]:  # fmt: skip
    """Positions of several trajectories of one molecule, and the interval in ps that they share.

    One float32 array [frames, atoms, 3] in nm per file (a read-only memory map for .npy), of some atoms where asked,
    `molecules` at their nearest images.
    """
    if not paths:
        raise TrajectoryError("No trajectories given; expected at least one file.")
    topology = load_topology(top)
    arrays: list[NDArray[np.float32]] = []
    shared: float | None = None
    for path in paths:
        reader = TrajectoryReader(path, topology, interval=interval, strict=strict, molecules=molecules)
        own = reader.interval  # before the long read, so that a file without times fails at once
        if atoms is None:
            arrays.append(reader.positions())
            own = reader.interval
        else:
            arrays.append(np.concatenate([block.positions[:, atoms] for block in reader]))
        if shared is not None and abs(own - shared) > _SPACING * shared:
            raise TrajectoryError(
                f"Frames of {path} are {own:g} ps apart, those of {paths[0]} {shared:g} ps. Save all at one interval."
            )
        shared = own if shared is None else shared
    assert shared is not None
    return arrays, shared


def load_topology(top: Top) -> mdtraj.Topology:
    """mdtraj.Topology from a PDB (or other mdtraj-readable) file, an mdtraj.Topology or an openmm.app.Topology."""
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
    except Exception as error:
        raise TrajectoryError(
            f"Topology {path} cannot be read ({first_line(error)}); expected a PDB file with ATOM records."
        ) from error


def _reason(ratios: Floats, length: float) -> str:
    """What makes a bond that long, given the lengths of all bonds of the frame over their usual ones."""
    low, scale, high = np.quantile(np.minimum(ratios, 1e9), [0.1, 0.5, 0.9])  # damaged files hold infinite ones
    if not 0.6 < scale < 1.6 and high < _ALIKE * low:
        return f"all bonds are about {scale:.2g} times as long as usual, so the positions are in another unit"
    if length > 0.3:
        return (
            "the trajectory jumps across a periodic box without storing it (make molecules whole first, as by"
            " `gmx trjconv -pbc whole`), or its atoms are in another order than in the topology"
        )
    return (
        "its atoms are in another order than in the topology, the bonds there (CONECT records) are of other atoms, or"
        " the file is damaged"
    )


class _Bonds:
    """Bonds of a molecule, shape (bonds, 2), and their usual lengths in nm: sums of covalent radii (Cordero 2008)."""

    def __init__(self, topology: mdtraj.Topology) -> None:
        numbers = [atom.element.number for atom in topology.atoms]
        from ase.data import covalent_radii

        radii = [covalent_radii[n] for n in numbers]
        bonded = [(a.index, b.index) for a, b in topology.bonds if numbers[a.index] and numbers[b.index]]
        bonded = [p for p in bonded if numbers[p[0]] > 1 or numbers[p[1]] > 1]  # rigid waters have one from H to H
        self.pairs: Ints = np.array(bonded, dtype=np.int64).reshape(-1, 2)
        self.usual = 0.1 * np.array(radii)[self.pairs].sum(axis=1)
        n = topology.n_atoms
        self._tree = [edge for part in components(n, self.pairs) for edge in spanning_tree(n, self.pairs, part[0])]

    def ratios(self, positions: Floats) -> Floats:
        """Lengths over the usual ones, shape (frames, bonds), of positions in nm."""
        return np.asarray(bond_lengths(positions, self.pairs) / self.usual)

    def whole(self, positions: Floats, cells: Floats | None) -> Floats:
        """Positions [frames, atoms, 3] in nm, made whole where a box cuts molecules and is no stub (0 or 1 Å)."""
        if cells is None or not len(self.pairs):
            return positions
        cut = (self.ratios(positions) > _CUT).any(axis=1) & _holds(positions, cells)
        if not cut.any():
            return positions
        made = np.array(positions, dtype=np.float64)
        made[cut] = make_whole(made[cut], self._tree, np.asarray(cells, dtype=np.float64)[cut])
        return np.asarray(made, dtype=positions.dtype)

    def strange(self, ratios: Floats) -> int | None:
        """Index of the bond that is farthest from its usual length in most frames; None where all are sound."""
        if not ratios.size:
            return None
        middle = np.median(ratios, axis=0)
        worst = int(np.argmax(np.abs(np.log(np.maximum(middle, 1e-6)))))
        return None if _FOLDED < middle[worst] < _CUT else worst


def _holds(positions: Floats, cells: Floats) -> Bools:
    """Whether each frame fits into its box, shape (frames,)."""
    heights = np.stack([cells[:, i, i] for i in range(3)], axis=1)
    usable = np.asarray(np.isfinite(cells).all(axis=(1, 2)) & (heights > 0).all(axis=1))
    shares = positions @ np.linalg.inv(np.where(usable[:, None, None], cells, np.eye(3)))
    return np.asarray(usable & (np.ptp(shares, axis=1) < _ROOM).all(axis=1))


def _together(positions: Floats, cells: Floats | None, molecules: Sequence[Ints]) -> Floats:
    """Frames [frames, atoms, 3] in nm with each of some molecules at the image that is nearest to those before it."""
    if cells is None or len(molecules) < 2:
        return positions
    boxed = np.all([_holds(positions[:, molecule], cells) for molecule in molecules], axis=0)
    moved = np.array(positions)
    for k, molecule in enumerate(molecules[1:], 1):
        moves, _ = nearest_steps(moved[boxed], np.concatenate(molecules[:k]), molecule, cells[boxed])
        moved[np.ix_(boxed, molecule)] += moves[:, None].astype(moved.dtype)
    return moved
