"""Rings and amines in exact chains, with their moves and without, at equal processor time.

    python examples/ligands/rings.py --smiles "CN1CCCCC1" --seconds 20
    python examples/ligands/rings.py --smiles "CN1CCCCC1" --seconds 60 --hottest 1200 --only without

Two tasks of several ladders, pilot included, one after another in one process. Printed for each: sweeps, when a review
first found nothing missing (processor time), effective samples of the least known state, share of the frames and
effective samples on one side of every ring torsion and amine (its pyramid), and how often the moves were accepted.
With `--hottest` ladders go to a temperature at which rings flip without any move: an independent reference.
Needs `pip install '.[ligands]'`.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from latentmd.analysis.statistics import effective_samples
from latentmd.molecule.bonds import neighbour_lists
from latentmd.molecule.checks import signed_volumes, topology_arrays
from latentmd.molecule.checks import torsions as dihedrals
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.metropolis.ladders import Plan, Stretch, run_stretch
from latentmd.sampling.metropolis.mirrors import Mirror, mirrors_of
from latentmd.sampling.metropolis.pilot import pilot
from latentmd.sampling.metropolis.populations import populations, unmet_criteria
from latentmd.sampling.metropolis.segments import skipped
from latentmd.sampling.metropolis.tempering import Counts, ladder
from latentmd.sampling.metropolis.wells import turns_of, wells
from latentmd.sampling.run.clock import Deadline
from latentmd.sampling.run.preparation import minimised
from latentmd.sampling.run.scheduler import Serial
from latentmd.systems.builder import build
from latentmd.systems.ligands import sided_bonds
from latentmd.systems.molecule import Molecule
from latentmd.systems.protocol import InputOptions, Protocol

TASKS, STEP, PRECISION = 2, 20, 0.25


def sides(molecule: Molecule) -> dict[str, np.ndarray]:
    """Four atoms of each coordinate: the first torsion of every ring, the pyramid of every amine."""
    symbols, bonds = topology_arrays(molecule.topology)
    around, found = neighbour_lists(len(symbols), bonds), {}
    for move in mirrors_of(symbols, bonds):
        first = move.atoms[0]
        if move.kind == "inversion":
            found[move.name] = np.array([first, *around[first]])
            continue
        path = [next(i for i in move.atoms if len(around[i]) == 4)]
        while len(path) < 4:
            path.append(next(i for i in around[path[-1]] if i in move.atoms and i not in path))
        found[move.name] = np.array(path)
    return found


def sample(molecule: Molecule, plan: Plan, seconds: float, seed: int) -> None:
    """Pilot and chains for so much processor time, and what they know then."""
    reference, begun = minimised(molecule, "Reference"), time.process_time()
    turns = turns_of(molecule.topology, reference, sided_bonds(molecule.ligand))
    choice = pilot(plan, reference, None, seed=seed, tasks=Serial(), number=TASKS, deadline=Deadline())
    first, made, converged = time.process_time() - begun, 0, ""
    ends, pieces, counts = list(choice["ends"]), [], Counts()
    while time.process_time() - begun < seconds or made < 5 * STEP:
        for task in range(TASKS):
            piece = run_stretch(
                Stretch(plan, choice["pool"], choice["weights"], ends[task], sweeps=STEP, seed=seed + task, first=made)
            )
            ends[task] = piece.end
            counts.update(piece.counts)
            pieces.append(piece)
        made += STEP
        if not converged and made % 100 == 0 and made >= 200:
            angles = np.concatenate([np.concatenate([p.cold for p in pieces[t::TASKS]]) for t in range(TASKS)], axis=1)
            angles = angles.swapaxes(0, 1)[:, skipped(made) :]
            if not unmet_criteria(populations(angles, wells(turns, angles)), PRECISION):
                converged = f"after {made} sweeps and {time.process_time() - begun:.0f} s"
    angles = np.concatenate([np.concatenate([p.cold for p in pieces[t::TASKS]]) for t in range(TASKS)], axis=1)
    angles = angles.swapaxes(0, 1)[:, skipped(made) :]
    found = populations(angles, wells(turns, angles))
    x = np.concatenate([np.concatenate([p.positions for p in pieces[t::TASKS]]) for t in range(TASKS)], axis=1)
    x = x[skipped(made) // 5 :].astype(np.float64)
    print(f"  pilot {first:.1f} s, {made} sweeps, converged {converged or 'not'}, {found.least:.0f} effective samples")
    for name, quad in sides(molecule).items():
        measure = signed_volumes if name.startswith("inversion") else dihedrals
        inside = (measure(x.reshape(-1, *x.shape[2:]), quad[None])[:, 0] > 0).reshape(x.shape[:2]).astype(np.float64)
        samples, share = effective_samples(list(inside.T)), inside.mean()
        taken = f", {counts.accepted[name] / counts.tried[name]:.3f} accepted" if counts.tried[name] else ""
        error = np.sqrt(share * (1 - share) / max(samples, 1))
        print(f"  {name}: {100 * share:.1f} ± {100 * error:.1f} %, {samples:.0f} effective samples{taken}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smiles", required=True)
    parser.add_argument("--seconds", type=float, default=20.0, help="processor time of each, pilot included")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--solvent", default="implicit")
    parser.add_argument("--hottest", type=float, help="of the ladders, kelvin; twice the temperature unless given")
    parser.add_argument("--only", choices=("with", "without"))
    given = parser.parse_args()
    built = build(Path("molecule"), Protocol(given.solvent, inputs=InputOptions(smiles=given.smiles)))
    whole = Plan.of(built, rotatable_torsions(*topology_arrays(built.topology)))
    if given.hottest:
        freedom = 3 * built.system.getNumParticles() - 6 - built.system.getNumConstraints()
        kelvins = ladder(whole.temperatures[0], given.hottest, freedom)
        whole = replace(whole, temperatures=kelvins, ladders=max(1, 32 // len(kelvins)))
    without = replace(whole, blocks=tuple(block for block in whole.blocks if not isinstance(block, Mirror)))
    for name, chosen in (("with", whole), ("without", without)):
        if given.only in (None, name):
            print(f"{given.smiles} {name} moves of rings and amines:", flush=True)
            sample(built, chosen, given.seconds, given.seed)
