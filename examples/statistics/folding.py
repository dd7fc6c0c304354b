"""Share of folded frames, mean folding and unfolding times, of runs of a chain whose native structure is known.

    python examples/statistics/folding.py native.pdb topology.pdb walker-*.xtc --every 100ps

Prints JSON. A frame counts as folded within 0.2 nm of the native CA atoms. Times are mean time in one core until the
other is reached, with cores below 0.15 and above 0.3 nm, looked at every so many ps: the time in a core over its exits.
Intervals (95 %) are from runs drawn again with replacement.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import mdtraj
import numpy as np

from latentmd.units import parse_time

FOLDED, CORES = 0.2, (0.15, 0.3)  # nm


def visits(deviation: np.ndarray, spacing: float) -> np.ndarray:
    """Share folded; ns in the unfolded core and its exits; the same of the folded one, of RMSD in nm ps apart."""
    core = np.where(deviation < CORES[0], 1, np.where(deviation > CORES[1], 0, -1))
    for k in range(1, len(core)):
        core[k] = core[k - 1] if core[k] < 0 else core[k]
    here, then = core[:-1], core[1:]
    counts = [(core == 0).sum() * spacing / 1000, ((here == 0) & (then == 1)).sum()]
    counts += [(core == 1).sum() * spacing / 1000, ((here == 1) & (then == 0)).sum()]
    return np.array([(deviation < FOLDED).mean(), *counts])


def told(rows: np.ndarray) -> np.ndarray:
    """Share folded, mean folding and unfolding time in ns, of rows of runs."""
    unfolded, foldings, folded, unfoldings = rows[:, 1:].sum(axis=0)
    return np.array([rows[:, 0].mean(), unfolded / max(foldings, 0.5), folded / max(unfoldings, 0.5)])


def main() -> None:
    """Read the runs and print what they show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("native", type=Path)
    parser.add_argument("topology", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--every", default="100ps", help="between frames that are looked at")
    given = parser.parse_args()
    native = mdtraj.load(str(given.native))
    native, rows = native.atom_slice(native.topology.select("name CA")), []
    for path in given.runs:
        run = mdtraj.load(str(path), top=str(given.topology))
        every = max(1, round(parse_time(given.every) / run.timestep))
        run = run[::every].atom_slice(run.topology.select("name CA"))
        rows.append(visits(mdtraj.rmsd(run, native), run.timestep))
    table, rng = np.array(rows), np.random.default_rng(0)
    drawn = [told(table[rng.integers(0, len(table), len(table))]) for _ in range(500)]
    names = ("share folded", "mean folding time, ns", "mean unfolding time, ns")
    found = zip(names, told(table), np.quantile(drawn, [0.025, 0.975], axis=0).T, strict=True)
    result = {name: [round(float(value), 3), *np.round(bounds, 3).tolist()] for name, value, bounds in found}
    print(json.dumps({"runs": len(table), "foldings": int(table[:, 2].sum()), **result}, indent=1))


if __name__ == "__main__":
    main()
