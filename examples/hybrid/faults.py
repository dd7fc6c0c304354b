"""Kill hybrid runs, and their workers, at random moments, resume, and compare with an uninterrupted run.

    python examples/hybrid/faults.py kills --count 30 --out faults
    python examples/hybrid/faults.py workers --count 30 --out faults

`kills` ends the whole process with SIGKILL after a random time and resumes the run; `workers` kills a worker of the
local Dask cluster instead. Both must end with the weights and bursts of an undisturbed run, bit for bit. Alanine
dipeptide, rounds of six bursts of 4 ps, no surrogate training, which resumes from its own checkpoints.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def line(out: Path, processes: int, simulated: str) -> list[str]:
    """Command of a run."""
    return [sys.executable, str(Path(__file__).resolve()), "run", "--out", str(out), "--processes", str(processes),
            "--time", simulated]  # fmt: skip


def run(out: Path, processes: int, simulated: str) -> None:
    """One session of the run, resumed where it ended."""
    from latentmd.sampling.levels import hybrid
    from latentmd.sampling.request import HybridSettings

    settings = HybridSettings(burst=4.0, starts=6, lag=0.5, cells=40, surrogate=False, hot=False)
    hybrid(PDB, out=out, time=simulated, seed=1, processes=processes, settings=settings, resume=True)


def kills(out: Path, count: int, simulated: str) -> int:
    """Kill sessions until the run is complete or `count` were killed; how many were."""
    dice, done = random.Random(0), 0
    while done < count:
        process = subprocess.Popen(line(out, 1, simulated))
        try:
            process.wait(timeout=dice.uniform(5.0, 40.0))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done += 1
            print(f"killed {done} times, {bursts(out)} bursts", flush=True)
    subprocess.run(line(out, 1, simulated), check=True)
    return done


def workers(out: Path, count: int, simulated: str) -> int:
    """Kill workers of one session at random moments; how many were killed."""
    dice, done = random.Random(1), 0
    process = subprocess.Popen(line(out, 2, simulated))
    while process.poll() is None:
        time.sleep(dice.uniform(1.0, 5.0))
        found = _workers(process.pid)
        if found and done < count and bursts(out):
            os.kill(dice.choice(found), signal.SIGKILL)
            done += 1
            print(f"killed {done} workers, {bursts(out)} bursts", flush=True)
    if process.returncode:
        raise SystemExit(f"the run failed with status {process.returncode}")
    return done


def _workers(parent: int) -> list[int]:
    """Processes of Dask workers below a process."""
    import psutil

    children = psutil.Process(parent).children(recursive=True)
    return [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]


def bursts(out: Path) -> int:
    """Bursts on disk."""
    return len(list(out.glob("run/rounds/*/burst-*")))


def compare(first: Path, second: Path) -> None:
    """Raise where two runs differ."""
    a, b = np.load(first / "weights.npz"), np.load(second / "weights.npz")
    for name in a.files:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    for path in sorted((first / "bursts").iterdir()):
        assert path.read_bytes() == (second / "bursts" / path.name).read_bytes(), path.name
    keys = set(zip(a["round"].tolist(), a["task"].tolist(), a["frame"].tolist(), strict=True))
    assert len(keys) == len(a["weight"]), "a frame is there twice"
    print(f"equal: {len(a['weight'])} frames, none lost, none twice")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["kills", "workers", "run"])
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--time", default="600ps")
    parser.add_argument("--out", type=Path, default=Path("faults"))
    options = parser.parse_args()
    if options.what == "run":
        run(options.out, options.processes, options.time)
    else:
        calm, disturbed = options.out / "calm", options.out / options.what
        subprocess.run(line(calm, 1, options.time), check=True)
        number = (kills if options.what == "kills" else workers)(disturbed, options.count, options.time)
        print(f"{options.what}: {number}")
        compare(calm, disturbed)
