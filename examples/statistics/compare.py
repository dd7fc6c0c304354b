"""Exact chains against a long reference: values within two standard errors, and effective samples per energy.

    python examples/statistics/compare.py my.pdb --chains my-chains.json --reference my-reference.npz [--md my-md.npz]

References come from reference.py (temperature replica exchange, or plain MD with one temperature), chains and wells
from chains.py. Wells with a population from 1 to 99 % in the reference count; a value agrees where it is within two
standard errors of the difference. Gains are medians (and least values) over these wells of effective samples per
energy. Torsions that are followed by two equivalent atoms (NH2) are left out: references record one of them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from latentmd.sampling.metropolis.plain_md import independent
from latentmd.sampling.metropolis.populations import Populations, populations
from latentmd.sampling.metropolis.wells import Well, turns_of
from latentmd.systems.builder import build


def read(path: Path) -> tuple[Populations, float]:
    """Populations of a reference and the energies that it evaluated."""
    with np.load(path) as file:
        return populations(file["angles"], states), float(file["calls"])


def passed(path: Path, shares: np.ndarray, found: Populations) -> np.ndarray:
    """Effective samples of each state, counted by passages where there are fewer; nan for populations of 0 or 1."""
    with np.load(path) as file:
        rows = zip(states, shares, found.effective, strict=True)
        return np.array([independent(file["angles"], well, share, n) for well, share, n in rows])


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("pdb", type=Path)
parser.add_argument("--chains", type=Path, required=True)
parser.add_argument("--reference", type=Path, required=True)
parser.add_argument("--md", type=Path)
parser.add_argument("--again", type=Path, help="Other seeds of chains.py, to see whether standard errors are right.")
o = parser.parse_args()
molecule = build(o.pdb)
turns = {turn.name: turn for turn in turns_of(molecule.topology, np.asarray(molecule.positions._value))}
rows = [json.loads(line) for line in o.chains.read_text().splitlines()]
spans = {name: span for name, span in rows[0]["wells"].items() if turns[span[0]].twin is None}
states = tuple(Well(name, turns[turn], *span) for name, (turn, *span) in spans.items())
reference, spent = read(o.reference)
deviations, gains = [], []
for row in rows:
    found = np.array([row["states"][w.name] for w in states])
    joint = np.hypot(found[:, 1], reference.errors)
    z = (found[:, 0] - reference.values) / joint
    deviations.append(z[reference.counted])
    gains.append(found[:, 2] / row["calls"])
    if row is rows[0]:
        for i in reference.counted.tolist():
            ours = f"{found[i, 0]:.3f} ± {found[i, 1]:.3f} ({found[i, 2]:.0f})"
            theirs = f"{reference.values[i]:.3f} ± {reference.errors[i]:.3f} ({reference.effective[i]:.0f})"
            print(f"{states[i].name:24} chains {ours}   reference {theirs}   {z[i]:+.1f}")
z = np.array(deviations)
print(f"{o.chains.stem}: {np.count_nonzero(np.abs(z) <= 2)} of {z.size} values within two standard errors, "
      f"largest {np.abs(z).max():.1f}; {np.mean([r['calls'] for r in rows]):.3g} energies, "
      f"{np.mean([r['seconds'] for r in rows]):.0f} s of one core")  # fmt: skip
for name, path in (("replica exchange", o.reference), ("plain MD", o.md)):
    if path is None:
        continue
    other, calls = read(path)
    effective = passed(path, reference.values, other) if path == o.md else other.effective
    least = np.mean(gains, axis=0)[reference.counted].min() / (effective[reference.counted].min() / calls)
    usable = [i for i in reference.counted.tolist() if effective[i] > 0]
    ratio = np.mean(gains, axis=0)[usable] / (effective[usable] / calls)
    worst = states[usable[int(ratio.argmin())]].name
    print(f"effective samples per energy over {name}: of the state each knows least {least:.1f}; of all states median "
          f"{np.median(ratio):.1f}, least {ratio.min():.1f} ({worst}); "
          f"{len(reference.counted) - len(usable)} states never seen by it")  # fmt: skip
if o.again is not None:
    others = [json.loads(line)["states"] for line in o.again.read_text().splitlines()]
    pairs = [(r["states"][n], other[n]) for r in rows for other in others for n in r["states"] if n in other]
    z = np.array([(a[0] - b[0]) / np.hypot(a[1], b[1]) for a, b in pairs if 0.01 < a[0] < 0.99 or 0.01 < b[0] < 0.99])
    print(f"{o.chains.stem} against {o.again.stem}: {np.count_nonzero(np.abs(z) <= 2)} of {z.size} values within two "
          f"standard errors, root mean square {np.sqrt(np.mean(z**2)):.2f}")  # fmt: skip
