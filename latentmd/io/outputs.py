"""Output folder of a run: trajectories with true times, provenance and summary, readable whatever happens."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

KINDS = ("latent", "relaxed", "md")
COLUMNS = ("walker", "time_ps", "kind", "potential_energy", "checks_failed")
_OWN = ("topology.pdb", "provenance.csv", "summary.json", "report.png", "evaluation.html")


class OutputError(OSError):
    """An output folder or file that cannot be used; the message says what to do."""


class OutputFolder:
    """Where a run writes.

    A new run writes straight into its folder. A run that replaces an earlier one (`overwrite`) writes into
    `<folder>.partial` beside it and takes its place in `finish`, so that a run that fails leaves the earlier one as
    it was. Files that no run wrote are never touched.

    Args:
        path: the folder; made where it does not exist.
        overwrite: replace an earlier run.

    Attributes:
        path: the folder asked for.
        work: where files are written until `finish`.

    Raises:
        OutputError: the folder is not empty (without overwrite), not a folder, or not writable.
    """

    def __init__(self, path: str | Path, overwrite: bool = False) -> None:
        self.path = Path(path)
        filled = check_folder(self.path, overwrite)
        self.work = self.path.with_name(self.path.name + ".partial") if filled else self.path
        _writable(self.path)
        if filled:
            _writable(self.work)
            _remove_run(self.work)

    @property
    def topology(self) -> Path:
        """PDB file of the molecule as simulated."""
        return self.work / "topology.pdb"

    def trajectory(self, walker: int) -> Path:
        """Trajectory file of a walker."""
        return self.work / f"walker-{walker:04d}.xtc"

    def trajectories(self) -> list[Path]:
        """Trajectory files that exist, by walker."""
        return sorted(self.work.glob("walker-*.xtc"))

    def finish(self) -> None:
        """Put the finished run in place of the earlier one."""
        if self.work == self.path:
            return
        _remove_run(self.path)
        for file in self.work.iterdir():
            os.replace(file, self.path / file.name)
        self.work.rmdir()
        self.work = self.path

    def discard(self) -> None:
        """Remove what a run without a single frame left behind."""
        _remove_run(self.work)
        if self.work.is_dir() and not any(self.work.iterdir()):
            self.work.rmdir()

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json, whole or not at all."""
        write_atomically(self.work / "summary.json", json.dumps(summary, indent=2) + "\n")


def check_folder(path: Path, overwrite: bool) -> bool:
    """Refuse a folder that a run may not write to, before anything is written; True where it holds files.

    Raises:
        OutputError: it is not empty (without overwrite), or not a folder.
    """
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file; expected a folder: choose another with --out")
    filled = path.is_dir() and any(path.iterdir())
    if filled and not overwrite:
        raise OutputError(f"{path} is not empty; pass --overwrite to replace the run in it, or another --out")
    return filled


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: cannot write there ({error.strerror}); choose another with --out") from error


def _remove_run(folder: Path) -> None:
    for file in (*(folder / name for name in _OWN), *folder.glob("walker-*.xtc")):
        file.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by new text in one step.

    Raises:
        OutputError: it cannot be written; an earlier file is as it was.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path}: writing failed ({error.strerror}); is the disk full?") from error


class FrameWriter:
    """Appends frames to an XTC file; after every call the file on disk ends with a whole frame.

    Args:
        path: file to make.
        box: periodic box vectors in nm, shape (3, 3); None for a molecule without a box.

    Attributes:
        frames: how many are in the file.
    """

    def __init__(self, path: str | Path, box: ArrayLike | None = None) -> None:
        from mdtraj.formats import XTCTrajectoryFile

        self.path = Path(path)
        self.frames = 0
        self._box = np.zeros((3, 3), dtype=np.float32) if box is None else np.asarray(box, dtype=np.float32)
        self._good = 0
        self._file = XTCTrajectoryFile(str(path), "w")

    def write(self, positions: NDArray[np.floating[Any]], times: ArrayLike) -> None:
        """Append frames.

        Args:
            positions: nm, shape (frames, atoms, 3).
            times: ps, shape (frames,).

        Raises:
            OutputError: the disk is full or the file cannot be written; it is cut back to its last whole frame.
            ValueError: positions that are not finite.
        """
        xyz = np.ascontiguousarray(positions, dtype=np.float32)
        if not np.all(np.isfinite(xyz)):
            raise ValueError(f"{self.path.name}: positions are not finite after {self.frames} frames; none was added")
        stamps = np.asarray(times, dtype=np.float32)
        numbers = np.arange(self.frames, self.frames + len(xyz), dtype=np.int32)
        try:
            self._file.write(xyz, time=stamps, step=numbers, box=np.repeat(self._box[None], len(xyz), axis=0))
            self._file.flush()
        except (OSError, RuntimeError) as error:
            self._cut()
            raise OutputError(
                f"{self.path}: writing failed after {self.frames} frames ({error}); is the disk full? "
                "The frames written so far are readable"
            ) from error
        self.frames += len(xyz)
        self._good = self.path.stat().st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _cut(self) -> None:
        try:
            self._file.close()
        except (OSError, RuntimeError):
            pass
        os.truncate(self.path, self._good)

    def __enter__(self) -> FrameWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Provenance:
    """provenance.csv: a line per frame saying how it was made.

    Columns: walker, time in ps, kind (latent: decoded from a latent step; relaxed: minimised after one and then moved
    by MD; md: moved by MD), potential energy in kJ/mol and the structure checks failed, separated by spaces.

    Args:
        path: file to make.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = self.path.open("wb", buffering=0)
        self._write([COLUMNS])

    def add(self, walker: int, rows: Iterable[tuple[float, str, float, str]]) -> None:
        """Append lines of one walker: (time, kind, energy, checks failed).

        Raises:
            OutputError: the disk is full.
        """
        self._write((walker, f"{time:.10g}", kind, f"{energy:.4f}", failed) for time, kind, energy, failed in rows)

    def _write(self, lines: Iterable[tuple[Any, ...]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(lines)
        data, good = memoryview(text.getvalue().encode()), self._file.tell()
        try:
            while data:
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            self._file.truncate(good)
            self._file.seek(good)
            raise OutputError(f"{self.path}: writing failed ({error.strerror}); is the disk full?") from error

    def close(self) -> None:
        """Close the file and put its lines in the order of walkers and times."""
        self._file.close()
        header, *lines = self.path.read_text(encoding="utf-8").splitlines()
        lines.sort(key=lambda line: int(line.split(",", 1)[0]))  # stable: times within a walker are in order already
        write_atomically(self.path, "\n".join([header, *lines]) + "\n")


def read_provenance(path: str | Path) -> dict[str, NDArray[Any]]:
    """The columns of provenance.csv as arrays."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        "walker": np.array([int(row["walker"]) for row in rows], dtype=np.int64),
        "time_ps": np.array([float(row["time_ps"]) for row in rows]),
        "kind": np.array([row["kind"] for row in rows]),
        "potential_energy": np.array([float(row["potential_energy"]) for row in rows]),
        "checks_failed": np.array([row["checks_failed"] for row in rows]),
    }
