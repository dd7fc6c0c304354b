"""Exact chains of one molecule with several seeds, everything counted, one process.

    python examples/statistics/chains.py my.pdb --sweeps 1500 --seeds 1 2 3 --out my-chains.json
    python examples/statistics/chains.py my.pdb --sweeps 1500 --seeds 1 2 3 --kernels bad --out my-bad.json

A line of JSON is added for every seed: population, standard error, effective samples and interval of every well,
energies evaluated and processor seconds, pilot included. Wells are found in the first seed of a file and kept for the
others. Kernels: `peptides` starts the pilot from the bundled peptide model,
`none` from uniform torsions, and `bad` leaves the pilot out and puts every kernel on one wrong structure.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.metropolis.ladders import Plan, Stretch, run_stretch
from latentmd.sampling.metropolis.pilot import peptide_structures, pilot, scatter
from latentmd.sampling.metropolis.populations import populations
from latentmd.sampling.metropolis.wells import Well, turns_of, wells
from latentmd.sampling.run.clock import Deadline
from latentmd.sampling.run.preparation import minimised
from latentmd.sampling.run.scheduler import Serial
from latentmd.systems.builder import Protocol, build

LENGTH = 100  # sweeps of a stretch


def choose(plan: Plan, reference: np.ndarray, seed: int) -> dict:
    """The pilot asked for."""
    if o.kernels == "bad":
        end, calls = scatter(plan, reference, Deadline(), seed)
        wrong = np.random.default_rng(seed).uniform(-np.pi, np.pi, len(plan.torsions.quads))
        pool = np.broadcast_to(wrong, (len(plan.temperatures), 4, len(wrong)))
        weights = np.full(len(plan.blocks), 1 / len(plan.blocks))
        return {"pool": pool, "weights": weights, "ends": end[None], "calls": calls}
    guess = None
    if o.kernels == "peptides":
        drawn = peptide_structures(molecule.topology, reference, seed)
        guess = None if drawn is None else plan.torsions.angles(drawn)
    return pilot(plan, reference, guess, seed=seed, tasks=Serial(), number=1, deadline=Deadline())


def states(angles: np.ndarray) -> tuple[Well, ...]:
    """Wells of the first row of the file, or of these angles where there is none; and the one asked for."""
    turns = {turn.name: turn for turn in turns_of(molecule.topology, reference)}
    if o.out.exists():
        first = json.loads(o.out.read_text().splitlines()[0])["wells"]
        return tuple(Well(name, turns[turn], low, high, centre) for name, (turn, low, high, centre) in first.items())
    found = wells(tuple(turns.values()), angles)
    if o.state is not None:
        torsion, low, high = o.state
        found += (Well(f"{torsion} {low} to {high}", turns[torsion], float(low), float(high)),)
    return found


def run(seed: int) -> dict:
    """One run of one seed."""
    begin = time.process_time()
    choice = choose(plan, reference, seed)
    piloted, end, calls, angles = time.process_time() - begin, choice["ends"][0], choice["calls"], []
    for number in range(o.sweeps // LENGTH):
        piece = run_stretch(
            Stretch(plan, choice["pool"], choice["weights"], end, sweeps=LENGTH, seed=1000 * seed + number)
        )
        end, calls = piece.end, calls + piece.calls
        angles.append(np.swapaxes(piece.cold, 0, 1))
    kept = np.concatenate(angles[max(1, len(angles) // 5) :], axis=1)
    found = populations(kept, states(kept))
    rows = zip(found.wells, found.values, found.errors, found.effective, found.mixed, strict=True)
    return {
        "seed": seed, "kernels": o.kernels, "calls": calls, "seconds": time.process_time() - begin, "pilot": piloted,
        "chains": plan.ladders, "temperatures": plan.temperatures.tolist(), "accepted": piece.counts.shares,
        "states": {w.name: [float(p), float(e), float(n), float(r)] for w, p, e, n, r in rows},
        "wells": {w.name: [w.turn.name, w.low, w.high, w.centre] for w in found.wells},
    }  # fmt: skip


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("pdb", type=Path)
parser.add_argument("--sweeps", type=int, required=True)
parser.add_argument("--seeds", type=int, nargs="+", default=[1])
parser.add_argument("--kernels", choices=["peptides", "none", "bad"], default="peptides")
parser.add_argument("--state", nargs=3, metavar=("TORSION", "LOW", "HIGH"), help="One more, in degrees.")
parser.add_argument("--temperature", type=float, default=300.0)
parser.add_argument("--solvent", default="implicit")
parser.add_argument("--force-field", action="append", default=[])
parser.add_argument("--out", type=Path, required=True)
o = parser.parse_args()
molecule = build(o.pdb, Protocol(o.solvent, tuple(o.force_field), temperature=o.temperature))
quads = rotatable_torsions(*topology_arrays(molecule.topology))
plan, reference = Plan.of(molecule, quads), minimised(molecule, "Reference")
for number in o.seeds:
    row = run(number)
    with o.out.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(f"{o.out} seed {number}: {row['calls']:.3g} energies, {row['seconds']:.1f} s", flush=True)
