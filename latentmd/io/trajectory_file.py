"""What one trajectory file holds: blocks of positions, boxes and times as stored, and whether its atoms fit."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple, NoReturn

import mdtraj
import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.interpreter import command, environment
from latentmd.io.dialects import TEXT, CutShortError, DcdFile, TextFrame, text_frames
from latentmd.io.formats import FORMATS, NAMING, PACKED
from latentmd.molecule.matching import Answer, match, named_atoms, order_difference
from latentmd.units import first_line

_WHOLE = (".cif", ".mmcif", ".pdbx")  # mdtraj reads these at once only
_READ_HDF5 = """
import sys, tables
with tables.open_file(sys.argv[1]) as file:
    for leaf in file.walk_nodes("/", "Leaf"):
        for start in range(0, leaf.nrows, 1000):
            leaf[start:start + 1000]
"""
_XTC = {1995: ">i", 2023: ">q"}  # magic number, and how the length of the packed positions is stored
_UNPACKED = 9  # atoms up to which XTC stores plain numbers
_PACKING = range(9, 73)  # indices into the table of small numbers of the XTC format


class TrajectoryError(ValueError):
    """A trajectory file that cannot be used; the message says why and what to do."""


class StoredBlock(NamedTuple):
    """Consecutive frames as stored: nm, shape (frames, atoms, 3); vectors of the box, nm, (frames, 3, 3); times, ps."""

    positions: Floats
    cells: Floats | None
    times: Doubles | None


class TrajectoryFile:
    """A trajectory file of the format `suffix`, read in blocks; TrajectoryError where it is of another molecule."""

    def __init__(self, path: Path, suffix: str, topology: mdtraj.Topology, block: int) -> None:
        self.path, self.suffix, self.block = path, suffix, block
        self._topology = topology
        self._order: Ints | None = None  # for each atom of the topology its index in the file, where it differs
        self.n_atoms: int = topology.n_atoms
        if not path.is_file():
            raise TrajectoryError(f"Trajectory {path} not found; check the path.")
        if path.stat().st_size == 0:
            raise TrajectoryError(f"Trajectory {path} is empty; was the run that writes it started?")
        if self.suffix not in FORMATS:
            raise TrajectoryError(
                f"{path} is no trajectory in a format that is read here; expected a name that ends in"
                f" {', '.join(FORMATS)}: convert it, as by mdconvert, cpptraj or `ase convert`."
            )
        self._check_atoms()

    def blocks(self) -> Iterator[StoredBlock]:
        """Blocks of frames from the first to the last; TrajectoryError for damage."""
        done = 0
        try:
            with self._plain() as name:
                for part in self._read(name):
                    yield part
                    done += len(part.positions)
        except TrajectoryError:
            raise
        except Exception as error:  # readers of damaged files raise anything
            self._refuse_damage(done, error)

    @property
    def mapped(self) -> NDArray[np.float32] | None:
        """All positions as a memory map, where the file is an unpacked array of them; None otherwise."""
        if self.path.suffix != ".npy":
            return None
        array = self._open_array(self.path)
        return array if array.dtype == np.float32 else None

    @contextmanager
    def _plain(self) -> Iterator[str]:
        """Yield the name of a file with the same content, unpacked, in ASCII and with an ending in small letters."""
        if str(self.path).isascii() and self.path.suffix == self.suffix:
            yield str(self.path)
            return
        with tempfile.TemporaryDirectory(prefix="latentmd-") as folder:
            plain = Path(folder) / f"file{self.suffix}"
            unpack = PACKED.get(self.path.suffix.lower())
            if unpack is None:
                plain.symlink_to(self.path.absolute())
            else:
                with unpack(self.path, "rb") as packed, plain.open("wb") as out:
                    shutil.copyfileobj(packed, out)
            yield str(plain)

    def _refuse_damage(self, done: int, error: Exception) -> NoReturn:
        raise TrajectoryError(
            f"Trajectory {self.path} cannot be read after frame {done} ({first_line(error)}): it is truncated,"
            f" damaged or not a {self.suffix} file. Write it again, or cut it after its last whole frame."
        ) from error

    def _read(self, name: str) -> Iterator[StoredBlock]:
        if self.suffix == ".npy":
            array = self._open_array(Path(name))
            for start in range(0, len(array), self.block):
                yield StoredBlock(np.asarray(array[start : start + self.block], dtype=np.float32), None, None)
        elif self.suffix in TEXT:
            yield from self._read_text(name)
        elif self.suffix == ".dcd":
            for positions, cells in DcdFile(Path(name)).blocks(self.block):
                yield StoredBlock(positions, cells, None)
        else:
            timed = self._stores_times(name)
            for part in self._mdtraj_blocks(name):
                times = np.asarray(part.time, dtype=np.float64) if timed else None
                with warnings.catch_warnings(action="ignore"):  # angles of a box of zeros
                    cells = part.unitcell_vectors
                yield StoredBlock(part.xyz if self._order is None else part.xyz[:, self._order], cells, times)

    def _read_text(self, name: str) -> Iterator[StoredBlock]:
        frames, done, more = text_frames(name, self.suffix, self.n_atoms), 0, True
        while more:
            part: list[TextFrame] = []
            try:
                part.extend(islice(frames, self.block))
            except Exception as error:
                self._refuse_damage(done + len(part), error)
            more = bool(part)
            for frame in part:
                self._check_count(len(frame.positions), done)
                self._check_labels(frame.labels, done)
            cells = np.array([np.zeros((3, 3)) if frame.cell is None else frame.cell for frame in part])
            times = [frame.time for frame in part if frame.time is not None]
            positions = np.array([frame.positions for frame in part], dtype=np.float32)
            done += len(part)
            if more:
                yield StoredBlock(positions, cells, np.array(times) if len(times) == len(part) else None)

    def _stores_times(self, name: str) -> bool:
        kind = FORMATS[self.suffix]
        if kind != "some":
            return kind == "always"
        with warnings.catch_warnings(action="ignore"), mdtraj.open(name) as file:
            return file.read(n_frames=1)[1] is not None

    def _mdtraj_blocks(self, name: str) -> Iterator[mdtraj.Trajectory]:
        if self.suffix in _WHOLE:
            with warnings.catch_warnings(action="ignore"):
                loaded = mdtraj.load(name)
            blocks = (loaded[i : i + self.block] for i in range(0, len(loaded), self.block))
        else:
            options = {} if self.suffix in NAMING else {"top": self._topology}
            blocks = mdtraj.iterload(name, chunk=self.block, **options)
        while True:
            with warnings.catch_warnings(action="ignore"):
                part = next(blocks, None)
            if part is None:
                return
            yield part

    def _open_array(self, path: Path) -> NDArray[np.float32]:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:
            what = f"{self.path} is not a whole .npy file ({first_line(error)})"
            raise TrajectoryError(f"{what}: it is truncated or damaged; write it again.") from error
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind != "f":
            raise TrajectoryError(
                f"{self.path} holds a {array.dtype} array of shape {array.shape}; expected floats of shape"
                f" (frames, {self.n_atoms}, 3) in nm."
            )
        return np.asanyarray(array)

    def _check_atoms(self) -> None:
        """Refuse a file of another number of atoms, or of other ones where it names them."""
        try:
            with self._plain() as name:
                if check := _CHECKS.get(self.suffix):
                    check(name)
                if self.suffix in NAMING:
                    self._check_own_topology(name)
                elif self.suffix not in TEXT:
                    self._check_count(self._stored_atoms(Path(name)), 0)
        except TrajectoryError:
            raise
        except CutShortError as error:
            raise TrajectoryError(
                f"Trajectory {self.path} is truncated: {error}. Write it again, or save its whole frames to a new file."
            ) from error
        except Exception as error:
            raise TrajectoryError(
                f"{self.path} cannot be read as a {self.suffix} file ({first_line(error)}): it is"
                " truncated, damaged or of another format."
            ) from error

    def _stored_atoms(self, path: Path) -> int:
        if self.suffix == ".npy":
            return int(self._open_array(path).shape[1])
        if self.suffix == ".dcd":
            return DcdFile(path).n_atoms
        with warnings.catch_warnings(action="ignore"), mdtraj.open(str(path)) as file:
            data = file.read(n_frames=1)
        return int((data[0] if isinstance(data, tuple) else data).shape[1])

    def _check_count(self, found: int, frame: int, names: str = "") -> None:
        if found == self.n_atoms:
            return
        heavy = sum(atom.element.symbol != "H" for atom in self._topology.atoms)
        hint = " That is the number of heavy atoms: the hydrogens were not saved." if found == heavy else ""
        where = f"Frame {frame} of trajectory" if frame else "Trajectory"
        raise TrajectoryError(
            f"{where} {self.path} has {found} atoms{names}, the topology has {self.n_atoms}"
            f" ({_residue_summary(self._topology)}).{hint} Give the topology that the trajectory was written with."
        )

    def _check_labels(self, labels: tuple[str, ...], frame: int) -> None:
        """Refuse symbols of elements in another order; names of other kinds, such as numbers of types, say nothing."""
        own = [atom.element.symbol for atom in self._topology.atoms]
        if not labels or list(labels) == own or not set(labels) <= set(own):
            return
        k = next(i for i, (a, b) in enumerate(zip(labels, own, strict=True)) if a != b)
        raise TrajectoryError(
            f"Atom {k + 1} in frame {frame} of trajectory {self.path} is {labels[k]}, in the topology it is"
            f" {self._topology.atom(k)}. Bring both into the same order."
        )

    def _check_own_topology(self, name: str) -> None:
        first = next(self._mdtraj_blocks(name), None)
        if first is None:
            raise TrajectoryError(f"Trajectory {self.path} has no frames.")
        own = first.topology
        self._check_count(own.n_atoms, 0, f" ({_residue_summary(own)})")
        if differ := order_difference(named_atoms(own), named_atoms(self._topology)):
            self._order = self._matched(own, differ)

    def _matched(self, own: mdtraj.Topology, differ: str) -> Ints:
        """For each atom of the topology its index in a file that lists the same molecules in another order."""
        try:
            answer = match(self._topology, own)
        except ValueError as error:  # atoms of a residue that are not bonded
            answer = Answer(first_line(error))
        if not answer:
            reason = answer.reason.replace("the molecule of the model", "that of the topology")
            raise TrajectoryError(
                f"Atoms of trajectory {self.path} differ from the topology: {differ}; {reason}. Give the topology that"
                " the trajectory was written with."
            )
        return np.array(answer.order, dtype=np.int64)


def _check_xtc(name: str) -> None:
    """Headers of all frames, since xdrlib reads past the end of its buffers where one is damaged."""
    data = np.memmap(name, dtype=np.uint8, mode="r").data
    at, frame, atoms, size = 0, 0, None, len(data)
    while at < size:
        if at + 56 > size:
            raise CutShortError(f"the file ends inside frame {frame}")
        magic, count = struct.unpack_from(">ii", data, at)
        (stored,) = struct.unpack_from(">i", data, at + 52)
        atoms = count if atoms is None else atoms
        if magic not in _XTC or not 0 < count == stored == atoms:
            raise ValueError(f"frame {frame} has a damaged header")
        at = at + 56 + 12 * count if count <= _UNPACKED else _packed_end(data, at + 56, magic, count, frame)
        frame += 1
    if at != size:
        raise CutShortError(f"the file ends inside frame {frame - 1}")


def _packed_end(data: memoryview, at: int, magic: int, count: int, frame: int) -> int:
    """Where packed positions end, after precision, bounds, packing and length."""
    kind = _XTC[magic]
    head = 32 + struct.calcsize(kind)
    if at + head > len(data):
        raise CutShortError(f"the file ends inside frame {frame}")
    precision, *bounds, packing = struct.unpack_from(">f7i", data, at)
    (length,) = struct.unpack_from(kind, data, at + 32)
    ordered = all(low <= high for low, high in zip(bounds[:3], bounds[3:], strict=True))
    if not (precision > 0 and ordered and packing in _PACKING and 0 < length <= 16 * count + 64):
        raise ValueError(f"frame {frame} has a damaged header")
    return int(at + head + length + -length % 4)


def _check_netcdf(name: str) -> None:
    """SciPy refuses a file that is shorter than its header says; the netCDF library fills in zeros."""
    from scipy.io import netcdf_file

    with open(name, "rb") as raw:
        if raw.read(3) != b"CDF":
            return  # of the newer, HDF5-based kind
    with netcdf_file(name, mmap=True) as file:
        stated, record = file._recs, file._recsize
        begin = file.fp.tell() + sum(v.data.nbytes for v in file.variables.values() if not v.isrec)
    held = (Path(name).stat().st_size - begin) // record if record else stated
    if held > stated:
        raise CutShortError(f"its header states {stated} frames, it holds {held}")


def _check_hdf5(name: str) -> None:
    """Read the file through in a process of its own: the HDF5 library crashes on damage to a file's inner tables."""
    done = subprocess.run(command("-c", _READ_HDF5, name), env=environment(), capture_output=True, check=False)
    if done.returncode < 0:  # by a signal; what the library refuses, the reader says
        raise ValueError("the HDF5 library crashes on it")


def _check_pdb(name: str) -> None:
    """Atoms of each model against those of the first; mdtraj puts what is missing at the origin."""
    counts = [0]
    with Path(name).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(("ATOM", "HETATM")):
                counts[-1] += 1
            elif line.startswith("MODEL ") and counts[-1]:
                counts.append(0)
    wrong = next((k for k, count in enumerate(counts) if count != counts[0]), None)
    if wrong is not None:
        raise CutShortError(f"model {wrong + 1} has {counts[wrong]} atoms, the first has {counts[0]}")


_NETCDF, _HDF5 = (".nc", ".ncdf", ".netcdf"), (".h5", ".hdf5", ".lh5")
#: What refuses files that end inside a frame, or whose damage their libraries do not see.
_CHECKS: dict[str, Callable[[str], None]] = {".xtc": _check_xtc, ".pdb": _check_pdb}
_CHECKS |= dict.fromkeys(_NETCDF, _check_netcdf) | dict.fromkeys(_HDF5, _check_hdf5)


def _residue_summary(topology: mdtraj.Topology) -> str:
    names = [residue.name for residue in topology.residues]
    return "-".join(names) if len(names) <= 8 else f"{'-'.join(names[:4])} and {len(names) - 4} more residues"
