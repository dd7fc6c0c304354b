"""Damage files of molecules at random and count how each is treated: `python examples/inputs/fuzz.py 10000`.

A second number is that of the first mutation, so that parts run beside each other: `fuzz.py 5000 5000`.

Prints every mutation that gives neither a sound molecule nor one sentence, with its number, from which it can be made
again, and the slowest ones.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np

from latentmd.systems import builder

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "systems"))
from mutate import CASES, fault, mutated

builder.load_force_field = cache(builder.load_force_field)  # half of the time otherwise
count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
built = refused = wrong = 0
slowest = 0.0
with tempfile.TemporaryDirectory() as folder:
    for number in range(first, first + count):
        rng = np.random.default_rng([13, number])
        source = CASES[int(rng.integers(len(CASES)))]
        path = Path(folder) / f"case{source.suffix}"
        path.write_bytes(mutated(source.read_bytes(), rng))
        begin = time.perf_counter()
        problem, molecule = fault(path)
        slowest = max(slowest, time.perf_counter() - begin)
        if problem:
            wrong += 1
            print(f"{number} {source.name}: {problem.splitlines()[0]}", flush=True)
        elif molecule is None:
            refused += 1
        else:
            built += 1
        if (number + 1 - first) % 250 == 0:
            print(f"{built} built, {refused} refused, {wrong} wrong", file=sys.stderr, flush=True)
print(f"{count} files: {built} built, {refused} refused in one sentence, {wrong} wrong; slowest {slowest:.1f} s")
