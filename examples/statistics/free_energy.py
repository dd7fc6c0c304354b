"""A state's free energy in many runs of exact chains against a known value.

    python examples/statistics/free_energy.py ala.json --state "phi ALA2 0 to 125" --value 2.27 --error 0.08

Prints, in kcal/mol at 300 K, what the runs of chains.py say, their scatter beside their own standard errors, and how
many are within two standard errors of the value (its own error included).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from latentmd.units import GAS_CONSTANT, KILOCALORIE

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("runs", type=Path)
parser.add_argument("--state", required=True)
parser.add_argument("--value", type=float, required=True)
parser.add_argument("--error", type=float, default=0.0)
o = parser.parse_args()
rows = [json.loads(line) for line in o.runs.read_text().splitlines()]
rows = list({row["seed"]: row for row in rows}.values())
kt = GAS_CONSTANT * 300.0 / KILOCALORIE
share, error = np.array([row["states"][o.state][:2] for row in rows]).T
energy, error = kt * np.log((1 - share) / share), kt * error / (share * (1 - share))
good = np.abs(energy - o.value) <= 2 * np.hypot(error, o.error)
print(f"{len(rows)} runs: {energy.min():.2f} to {energy.max():.2f}, mean {energy.mean():.3f} ± "
      f"{energy.std(ddof=1) / np.sqrt(len(rows)):.3f}; scatter {energy.std(ddof=1):.3f}, standard errors "
      f"{error.mean():.3f}; {good.sum()} within two standard errors; {np.mean([r['calls'] for r in rows]):.3g} "
      f"energies, {np.mean([r['seconds'] for r in rows]):.1f} s of one core")  # fmt: skip
