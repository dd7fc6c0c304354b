"""Hybrid sampling with the replica engine and without, to the same number of bursts: `python hybrid.py [--time 1ns]`.

Alanine dipeptide from nothing, everything counted: start-up, hot walkers, relaxations, bursts, training of the
surrogate, statistics and pages. Each run is a process of its own; LATENTMD_REPLICAS=off leaves the bursts to OpenMM,
one at a time. Processor time of all processes together is the measure, since other work slows the wall clock; what of
it the workers spent, which simulate, is beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from latentmd.systems.bundled import bundled

WORKER = "import resource, sys; from latentmd.cli.main import main\ntry: main(sys.argv[1:])\nfinally:"
WORKER += " print(*(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))"


def run(engine: str, options: list[str], folder: Path) -> tuple[float, float, int]:
    """Processor seconds of the main process and of its workers, and bursts of a run."""
    environment = {**os.environ, "LATENTMD_REPLICAS": engine, "OMP_NUM_THREADS": "1"}
    arguments = ["simulate", str(bundled("alanine_dipeptide")), "--mode", "hybrid", "--out", str(folder), *options]
    command = [sys.executable, "-c", WORKER, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    main, workers = (float(value) for value in done.stdout.split()[-2:])
    summary = json.loads((folder / "summary.json").read_text())
    return main, workers, int(summary["bursts"])


def main() -> None:
    """Run both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", default="1ns", help="Of all bursts together.")
    parser.add_argument("--options", default="", help="Of latentmd simulate.")
    asked = parser.parse_args()
    options = ["--time", asked.time, *asked.options.split()]
    print(f"{'bursts by':15} bursts  main, s  workers, s  together, s")
    for engine in ("on", "off"):
        with tempfile.TemporaryDirectory() as folder:
            main_seconds, workers, bursts = run(engine, options, Path(folder) / "run")
        name = "OpenMM" if engine == "off" else "replica engine"
        together = main_seconds + workers
        print(f"{name:15} {bursts:6} {main_seconds:8.1f} {workers:11.1f} {together:12.1f}", flush=True)


if __name__ == "__main__":
    main()
