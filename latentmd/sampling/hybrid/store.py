"""Folder of a hybrid run: every file is written whole or not at all, and never changed afterwards.

    settings.json                   what the run was asked for
    start.npz                       structures that it starts from
    rounds/0000/plan.npz            where each burst of a round starts, and why
    rounds/0000/burst-0000.npz      a burst's frames; or burst-0000.json, why it was discarded
    rounds/0000/cells.npz           cells in use from the next round on, if they changed
    rounds/0000/explorer/           surrogate in use from the next round on, if it was refined
    rounds/0000/round.json          written last: the round is complete

A run that is killed anywhere loses at most the bursts being simulated, since all else follows from files and from
random numbers keyed by (seed, round, task). Files are not forced to the platter one by one: that would take longer than
short bursts do, and guards against power cuts only, after which a file may be empty and is reported by name.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Floats
from latentmd.io.atomic import OutputError, replacing_folder, write_json, write_npz
from latentmd.sampling.contracts import Burst, Explorer
from latentmd.sampling.hybrid.cells import Cells

MODEL = "model.pt"  # bundle of an explorer, in its folder
_CACHE = 256 * 2**20  # bytes of bursts also kept in memory


class StoreError(OSError):
    """A run's folder that cannot be used; the message says what to do."""


class Store:
    """Reads and writes the folder of a hybrid run.

    Args:
        folder: made where it does not exist.
        settings: what the run is asked for; JSON values. A folder that holds a run with others is refused.

    Raises:
        StoreError: the folder holds something else, or cannot be written.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self._kept: dict[tuple[int, int], Burst] = {}
        self._bytes = 0
        try:
            (self.folder / "rounds").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.folder}: cannot write there ({error.strerror}); choose another folder") from error
        path = self.folder / "settings.json"
        if not path.exists():
            self.write_json(path, settings)
            return
        stored = self.read_json(path)
        wanted = json.loads(json.dumps(settings))
        different = sorted(k for k in {*stored, *wanted} if stored.get(k) != wanted.get(k))
        if different:
            changes = ", ".join(f"{k} = {stored.get(k)} (now {wanted.get(k)})" for k in different)
            raise StoreError(f"{self.folder} holds a run with {changes}; resume with its settings, or choose another")

    def round(self, number: int) -> Path:
        """Folder of a round, made where it does not exist."""
        path = self.folder / "rounds" / f"{number:04d}"
        path.mkdir(exist_ok=True)
        return path

    def complete_rounds(self) -> list[dict[str, Any]]:
        """Contents of round.json of every complete round, in order."""
        found: list[dict[str, Any]] = []
        while (path := self.folder / "rounds" / f"{len(found):04d}" / "round.json").exists():
            found.append(self.read_json(path))
        return found

    def read_json(self, path: Path) -> dict[str, Any]:
        """A JSON file of the run."""
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read ({error}); it is not from a hybrid run") from error
        return content

    def write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write a JSON file in one step."""
        with _resumable():
            write_json(path, content, indent=1)

    def write_arrays(self, path: Path, **arrays: NDArray[Any]) -> None:
        """Write an npz file in one step."""
        with _resumable():
            write_npz(path, arrays)

    def write_burst(self, round_: int, task: int, burst: Burst | str) -> None:
        """Keep a burst.

        Args:
            round_: number of the round.
            task: number of the burst in it.
            burst: or the reason why it was discarded.
        """
        stem = self.round(round_) / f"burst-{task:04d}"
        if isinstance(burst, str):
            self.write_json(stem.with_suffix(".json"), {"discarded": burst})
        else:
            self.write_arrays(stem.with_suffix(".npz"), positions=burst.positions, energies=burst.energies)
            self._keep((round_, task), burst)

    def has_burst(self, round_: int, task: int) -> bool:
        """Whether a burst was simulated, discarded or not."""
        stem = self.round(round_) / f"burst-{task:04d}"
        return stem.with_suffix(".npz").exists() or stem.with_suffix(".json").exists()

    def read_burst(self, round_: int, task: int) -> Burst | str | None:
        """A burst, the reason why it was discarded, or None where it was not simulated yet.

        Raises:
            StoreError: it cannot be read.
        """
        if (round_, task) in self._kept:
            return self._kept[round_, task]
        stem = self.folder / "rounds" / f"{round_:04d}" / f"burst-{task:04d}"
        if stem.with_suffix(".json").exists():
            return str(self.read_json(stem.with_suffix(".json"))["discarded"])
        if not stem.with_suffix(".npz").exists():
            return None
        arrays = read_arrays(stem.with_suffix(".npz"))
        burst = Burst(arrays["positions"], arrays["energies"])
        self._keep((round_, task), burst)
        return burst

    def _keep(self, key: tuple[int, int], burst: Burst) -> None:
        size = burst.positions.nbytes + burst.energies.nbytes
        if self._bytes + size <= _CACHE:
            self._kept[key] = burst
            self._bytes += size

    def write_cells(self, round_: int, cells: Cells) -> None:
        """Keep cells."""
        path = self.round(round_) / "cells.npz"
        self.write_arrays(path, **vars(cells))

    def read_cells(self, round_: int) -> Cells:
        """Cells kept in a round."""
        return Cells(**read_arrays(self.round(round_) / "cells.npz"))

    def write_explorer(self, round_: int, explorer: Explorer) -> Path:
        """Keep an explorer in a folder, in one step; an earlier one of the same round is replaced."""
        path = self.round(round_) / "explorer"
        try:
            with replacing_folder(path) as temporary:
                explorer.save(temporary)
        except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
            raise StoreError(f"{path}: writing failed ({error}); is the disk full?") from error
        return path


@contextmanager
def _resumable() -> Iterator[None]:
    """Say, where a file cannot be written, that the run can go on later."""
    try:
        yield
    except OutputError as error:
        raise StoreError(f"{error} All files written before are readable: make room and resume") from error


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an npz file of a run.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} cannot be read ({error}); delete its round and all later ones, and resume") from error


class BurstTrajectories(Sequence[Floats]):
    """Positions of bursts, read from disk on access, without their relaxation time.

    Args:
        store: of the run.
        bursts: (round, task) of each.
        skip: first frames left out.
    """

    def __init__(self, store: Store, bursts: Sequence[tuple[int, int]], skip: int) -> None:
        self.store, self.bursts, self.skip = store, list(bursts), skip

    def __len__(self) -> int:
        return len(self.bursts)

    @overload
    def __getitem__(self, index: int) -> Floats: ...

    @overload
    def __getitem__(self, index: slice) -> BurstTrajectories: ...

    def __getitem__(self, index: int | slice) -> Floats | BurstTrajectories:
        if isinstance(index, slice):
            return BurstTrajectories(self.store, self.bursts[index], self.skip)
        burst = self.store.read_burst(*self.bursts[index])
        if not isinstance(burst, Burst):
            raise StoreError(
                f"burst {self.bursts[index]} is missing from {self.store.folder}; delete its round and resume"
            )
        return burst.positions[self.skip :]
