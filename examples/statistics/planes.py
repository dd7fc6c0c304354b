"""Exact chains beside plain MD after the same processor time: distances of (phi, psi) planes to a long reference.

    python examples/statistics/reference.py my.pdb --minutes 15 --out my-reference.npz
    python examples/statistics/planes.py my.pdb --reference my-reference.npz --seconds 30 60 --seeds 1 2

Both use the replica engine in one process and count everything from the minimised structure on: chains their pilot,
which may ask the bundled model of peptides, MD its heating. A line of JSON for every seed and budget holds the
Jensen-Shannon distance of each plane (36 bins a side, as the square root of the divergence in nats) and the mean over
planes; the floor is the distance between two halves of the reference's ladders.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from latentmd.analysis.statistics import js_distance
from latentmd.molecule.checks import topology_arrays, torsions
from latentmd.molecule.torsions import rotatable_torsions, torsion_name
from latentmd.replicas.choice import replica_engine
from latentmd.sampling.metropolis.ladders import Plan, Stretch, run_stretch
from latentmd.sampling.metropolis.pilot import peptide_structures, pilot
from latentmd.sampling.run.preparation import minimised
from latentmd.sampling.run.scheduler import Serial
from latentmd.systems.builder import Protocol, build

BINS, SWEEPS, REPLICAS, STEPS = 36, 20, 16, 250


def histograms(angles: np.ndarray) -> list[np.ndarray]:
    """Counts of every (phi, psi) plane; angles of any leading shape, the last axis as `names`."""
    flat, edges = angles.reshape(-1, angles.shape[-1]), np.linspace(-np.pi, np.pi, BINS + 1)
    return [np.histogram2d(flat[:, a], flat[:, b], bins=(edges, edges))[0] for a, b in planes]


def distances(angles: np.ndarray, other: np.ndarray) -> list[float]:
    """Of every plane."""
    return [js_distance(p, q) for p, q in zip(histograms(angles), histograms(other), strict=True)]


def chains(seconds: float, seed: int) -> np.ndarray:
    """Torsions of the coldest rung, (sweeps, ladders, torsions), a fifth left out."""
    begin, angles, number = time.process_time(), [], 0
    plan = Plan.of(molecule, quads)
    drawn = peptide_structures(molecule.topology, start, seed)
    guess = None if drawn is None else plan.torsions.angles(drawn)
    choice = pilot(plan, start, guess, seed=seed, tasks=Serial(), number=1)
    end = choice.ends[0]
    while time.process_time() - begin < seconds or number == 0:
        seeds = 1000 * seed + number
        piece = run_stretch(Stretch(plan, choice.pool, choice.weights, end, sweeps=SWEEPS, seed=seeds))
        angles.append(piece.cold)
        end, number = piece.end, number + 1
    kept = np.concatenate(angles)
    return kept[len(kept) // 5 :]


def plain_md(seconds: float, seed: int) -> np.ndarray:
    """Torsions of plain MD, (frames, replicas, torsions), a tenth left out."""
    begin, frames = time.process_time(), []
    kelvin = molecule.protocol.temperature
    engine = replica_engine(molecule.system, np.repeat(start[None], REPLICAS, axis=0), temperature=kelvin, seed=seed)
    engine.draw_velocities()
    while time.process_time() - begin < seconds:
        engine.langevin(STEPS, timestep=molecule.protocol.timestep, friction=molecule.protocol.friction)
        frames.append(torsions(engine.positions, quads))
    return np.array(frames)[len(frames) // 10 :]


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("pdb", type=Path)
parser.add_argument("--reference", type=Path, required=True)
parser.add_argument("--seconds", type=float, nargs="+", default=[60.0])
parser.add_argument("--seeds", type=int, nargs="+", default=[1])
parser.add_argument("--temperature", type=float, default=300.0)
parser.add_argument("--out", type=Path, required=True)
o = parser.parse_args()
molecule = build(o.pdb, Protocol(temperature=o.temperature))
quads = rotatable_torsions(*topology_arrays(molecule.topology))
start = minimised(molecule, "Reference")
names = [torsion_name(molecule.topology, quad) for quad in quads.tolist()]
planes = [(names.index(n), names.index(f"psi{n[3:]}")) for n in names if n.startswith("phi") and f"psi{n[3:]}" in names]
reference = np.load(o.reference)["angles"]
floor = float(np.mean(distances(reference[::2], reference[1::2])))
for budget in o.seconds:
    for number in o.seeds:
        row = {"seconds": budget, "seed": number, "floor": floor}
        for name, found in (("chains", chains(budget, number)), ("plain MD", plain_md(budget, number))):
            each = distances(found, reference)
            row[name] = {"mean": float(np.mean(each)), "planes": each}
        with o.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{o.pdb.stem}, {budget:g} s, seed {number}: chains {row['chains']['mean']:.3f}, plain MD "
              f"{row['plain MD']['mean']:.3f}, halves of the reference {floor:.3f}", flush=True)  # fmt: skip
