"""Kill exact chains again and again, resume them, and compare with a run that was left alone.

    python examples/statistics/kills.py my.pdb --kills 10 --out kills.json

A run ends at the first review that finds its populations as precise as `--precision` (kT). Every session is a process
of its own, killed with SIGKILL after a random time. Counted at the end: arrays that differ.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from pathlib import Path

import numpy as np

from latentmd.sampling.metropolis.run import chains
from latentmd.sampling.metropolis.settings import ChainsRequest


def sample(folder: Path) -> None:
    """Begin the run or go on with it, to its end."""
    chains(options.pdb, ChainsRequest(out=folder, precision=options.precision, processes=1, seed=3, resume=True))


def run(folder: Path, seconds: float | None) -> bool:
    """One session, killed after `seconds`; True where the run came to its end."""
    child = multiprocessing.get_context("spawn").Process(target=sample, args=(folder,))
    child.start()
    child.join(seconds)
    if child.exitcode is None:
        child.kill()
        child.join()
    return child.exitcode == 0


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("pdb", type=Path)
parser.add_argument("--kills", type=int, default=10)
parser.add_argument("--precision", type=float, default=0.25)
parser.add_argument("--out", type=Path, required=True)
options = parser.parse_args()

if __name__ == "__main__":
    rng, kills = random.Random(0), 0
    with tempfile.TemporaryDirectory() as place:
        alone, killed = Path(place) / "alone", Path(place) / "killed"
        began = time.monotonic()
        assert run(alone, None)
        whole = time.monotonic() - began
        while not run(killed, rng.uniform(0.1, 0.4) * whole if kills < options.kills else None):
            kills += 1
        with np.load(alone / "metropolised.npz") as a, np.load(killed / "metropolised.npz") as b:
            differ = [name for name in a.files if not np.array_equal(a[name], b[name])]
            frames = (len(a["energy"]), len(b["energy"]))
    result = {"kills": kills, "seconds_alone": whole, "frames": frames, "arrays_that_differ": differ}
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
