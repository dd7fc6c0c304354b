"""Kill a hybrid run again and again, resume it, and compare with one that was left alone.

    python examples/hybrid/kills.py --kills 30 --out kills.json

The run (a toy double well) is a process of its own, killed with SIGKILL after random times. Counted at the end: files
of the two folders that differ, frames lost and frames that appear twice.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentmd.worlds.correctness import make_run

LIMIT = 150.0  # simulated time of the run


def sample(folder: Path) -> None:
    """Begin the run or go on with it, to its end."""
    make_run("double well", "untrained", 0, folder, limit=LIMIT).run()


def run(folder: Path, seconds: float | None) -> bool:
    """Start or resume the run in a process of its own and kill it after `seconds`; True where it came to its end."""
    child = multiprocessing.get_context("fork").Process(target=sample, args=(folder,))
    child.start()
    child.join(seconds)
    if child.exitcode is None:
        child.kill()
        child.join()
    return child.exitcode == 0


def content(folder: Path) -> dict[str, Any]:
    """All files of a run by name, without wall times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.name == "round.json":
            found[str(path.relative_to(folder))] = {**json.loads(path.read_text()), "wall": None}
        elif path.is_file() and not path.name.endswith(".new"):
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        alone, killed = Path(place) / "alone", Path(place) / "killed"
        began = time.monotonic()
        assert run(alone, None)
        whole = time.monotonic() - began
        kills = 0
        while True:
            # Short enough that the run does not end before it was killed often enough.
            patience = rng.uniform(0, 1.6 * whole / options.kills) if kills < options.kills else None
            if run(killed, patience):
                break
            kills += 1
        one, two = content(alone), content(killed)
        with np.load(alone / "weights.npz") as a, np.load(killed / "weights.npz") as b:
            keys = [np.stack([f[name] for name in ("round", "task", "frame")]) for f in (a, b)]
        result = {
            "kills": kills,
            "seconds_alone": whole,
            "files": len(one),
            "files_that_differ": sorted(name for name in {*one, *two} if one.get(name) != two.get(name)),
            "frames": keys[0].shape[1],
            "frames_lost": len({*map(tuple, keys[0].T)} - {*map(tuple, keys[1].T)}),
            "frames_twice": keys[1].shape[1] - len({*map(tuple, keys[1].T)}),
        }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
