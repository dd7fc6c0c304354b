"""Damage trajectories at random and count how each is treated: `python examples/inputs/fuzz_trajectories.py 10000`.

Files as many programs write them (`tests/io/dialects.py`) get bits flipped, ends cut off, pieces left out, doubled or
overwritten. Each must be read whole or refused in one sentence. A changed coordinate that bonds allow cannot be told
from a right one and is counted by itself. Printed, with the number from which it can be made again, is whatever
crashes, raises anything else, loses frames without a word or has another time between frames. A second number
is that of the first mutation.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from latentmd.io.formats import suffix_of
from latentmd.io.trajectory import TrajectoryError, TrajectoryReader

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "io"))
from dialects import FRAMES, PDB, READ, STEP, XYZ, damaged

_MAY_CRASH = (".xtc", ".trr", ".h5", ".nc", ".ncdf", ".netcdf")
_CLOSE = 0.002  # nm, rounding of the formats


def outcome(path: Path, timed: bool, whole: int) -> str:
    """What becomes of a damaged file."""
    try:
        reader = TrajectoryReader(path, PDB, interval=None if timed else STEP)
        found, interval = reader.positions(), reader.interval
    except TrajectoryError as error:
        return "refused" if "\n" not in str(error) else "SEVERAL LINES"
    except Exception as error:  # anything else is what is looked for
        return f"{type(error).__name__.upper()}: {error}"
    if abs(interval - STEP) > 2e-3 * STEP:
        return f"INTERVAL: {interval}"
    if len(found) < FRAMES and path.stat().st_size > whole * (len(found) + 0.01) / FRAMES:
        return f"FRAMES: {len(found)}"
    moved = [a - a[:1] for a in (found[:FRAMES], XYZ[: len(found)])]
    return "as it was" if np.abs(moved[0] - moved[1]).max() < _CLOSE else "changed"


def mutation(number: int, folder: str) -> tuple[str, str]:
    """Name of the file that is damaged, and what becomes of it."""
    rng = np.random.default_rng([19, number])
    case = sorted(READ)[int(rng.integers(len(READ)))]
    name, write, timed = READ[case]
    path = Path(folder) / name
    write(path)
    data = path.read_bytes()
    path.write_bytes(damaged(data, rng))
    if path.stat().st_size == 0 or suffix_of(path) == "":
        return case, "refused"
    return case, outcome(path, timed, len(data))


def alone(number: int, folder: str) -> tuple[str, str]:
    """The same, in a process of its own where the library that reads the format may crash."""
    case = sorted(READ)[int(np.random.default_rng([19, number]).integers(len(READ)))]
    if suffix_of(Path(READ[case][0])) not in _MAY_CRASH:
        return mutation(number, folder)
    context = get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=lambda: queue.put(mutation(number, folder)))
    process.start()
    process.join()
    return queue.get() if process.exitcode == 0 else ("", "CRASH")


def main() -> None:
    """Run the number of mutations that the command line names, 1000 by default."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    found = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:  # what is read once here need not be imported again by each process
        for name, write, timed in READ.values():
            write(Path(folder) / name)
            assert outcome(Path(folder) / name, timed, 1) in ("as it was", "changed"), name
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            case, result = alone(number, folder)
            found[result.split(":")[0]] += 1
            if result[0].isupper():
                print(f"{number} {case}: {result}", flush=True)
            if (number + 1 - first) % 250 == 0:
                print(dict(found), file=sys.stderr, flush=True)
    print(f"{count} files: " + ", ".join(f"{n} {name}" for name, n in sorted(found.items())))


if __name__ == "__main__":
    main()
