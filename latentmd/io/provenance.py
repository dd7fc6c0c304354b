"""provenance.csv: how every frame of a run was made, in one schema for all ways of sampling."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.io.atomic import OutputError, write_csv, write_text

#: How a frame was made: decoded from a latent step; then settled by a short run of MD; minimised after a latent step
#: and then moved by MD; moved by MD.
KINDS = ("latent", "settled", "relaxed", "md")
#: Every column that a provenance.csv may have, with the type of its values; each way of sampling writes some of them.
SCHEMA: dict[str, type] = {
    "walker": int,  # number of the trajectory file
    "time_ps": float,
    "kind": str,  # what made the frame
    "potential_energy": float,  # kJ/mol
    "checks_failed": str,  # names of structure checks, separated by spaces
    "weight": float,  # statistical weight of the frame
}
COLUMNS = ("walker", "time_ps", "kind", "potential_energy", "checks_failed")  # of a run of walkers


class Provenance:
    """provenance.csv: a line per frame saying how it was made, in the columns `COLUMNS`.

    Keeps `kept` lines of each walker; `failing` counts, by walker, those of frames that failed a check.
    """

    def __init__(self, path: str | Path, kept: Mapping[int, int] | None = None) -> None:
        self.path = Path(path)
        lines = self._kept_lines({walker: count for walker, count in (kept or {}).items() if count})
        self.failing = Counter(int(line.split(",", 1)[0]) for line in lines if not line.endswith(","))
        write_text(self.path, "\n".join([",".join(COLUMNS), *lines]) + "\n")
        self._file = self.path.open("ab", buffering=0)

    def _kept_lines(self, kept: Mapping[int, int]) -> list[str]:
        if not kept:
            return []
        left, lines = Counter(kept), []
        for line in self.path.read_text(encoding="utf-8").splitlines()[1:]:
            walker = line.split(",", 1)[0]
            if walker.isdecimal() and left[int(walker)] > 0 and line.count(",") == len(COLUMNS) - 1:
                left[int(walker)] -= 1
                lines.append(line)
        if missing := +left:
            raise OutputError(
                f"{self.path} lacks lines of walkers {', '.join(map(str, sorted(missing)))}; start the run anew with "
                "--overwrite"
            )
        return lines

    def add(self, walker: int, rows: Iterable[tuple[float, str, float, str]]) -> None:
        """Append lines of one walker: (time, kind, energy, checks failed)."""
        lines = ((walker, f"{time:.10g}", kind, f"{energy:.4f}", failed) for time, kind, energy, failed in rows)
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
        write_text(self.path, "\n".join([header, *lines]) + "\n")


def write_provenance(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a whole provenance.csv in one step: rows of one frame each, with columns out of `SCHEMA`."""
    unknown = [name for name in columns if name not in SCHEMA]
    if unknown:
        raise ValueError(f"provenance has no column {', '.join(unknown)}; expected some of {', '.join(SCHEMA)}")
    write_csv(path, columns, rows)


def read_provenance(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read the columns of a provenance.csv as arrays [frames], by name."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or [])
        unknown = [name for name in names if name not in SCHEMA]
        if unknown:
            raise OutputError(f"{path} has unknown columns {', '.join(unknown)}; expected some of {', '.join(SCHEMA)}")
        rows = list(reader)
    dtypes = {int: np.int64, float: np.float64, str: np.str_}
    return {name: np.array([SCHEMA[name](row[name]) for row in rows], dtype=dtypes[SCHEMA[name]]) for name in names}
