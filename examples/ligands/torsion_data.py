"""Exact chains of many molecules: the data that the model of torsions learns from, and those it is judged by.

    python examples/ligands/torsion_data.py molecules/train.smi --count 1000 --out data/train
    python examples/ligands/torsion_data.py molecules/test.smi --count 48 --sweeps 400 --every 1 --out data/test

One file a molecule: System, structure, and torsions at every temperature of the ladders after every few sweeps, the
pilot left out. OBC2, 300 to 600 K. About ten seconds of one core a molecule with 100 sweeps. What is there already is
not made again; `--share 0/2` takes every second molecule, for two processes side by side. A molecule that is refused
leaves its reason in `refused.txt`. Needs `pip install '.[ligands]'`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import openmm

from latentmd.io.atomic import write_npz
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.metropolis.ladders import Plan, Stretch, run_stretch
from latentmd.sampling.metropolis.pilot import pilot
from latentmd.sampling.run.clock import Deadline
from latentmd.sampling.run.preparation import minimised
from latentmd.sampling.run.scheduler import Serial
from latentmd.systems.builder import build
from latentmd.systems.protocol import InputOptions, Protocol

TEMPERATURE = 300.0


def sample(name: str, smiles: str, sweeps: int, every: int, seed: int) -> dict[str, object]:
    """Parametrise a molecule and run a pilot and one task of chains; what both gave."""
    begun = time.process_time()
    molecule = build(Path(name), Protocol(temperature=TEMPERATURE, inputs=InputOptions(smiles=smiles)))
    built, reference = time.process_time(), minimised(molecule, "Reference")
    symbols, bonds = topology_arrays(molecule.topology)
    plan = Plan.of(molecule, rotatable_torsions(symbols, bonds))
    if not len(plan.torsions.quads):
        raise ValueError("no bond turns")
    choice = pilot(plan, reference, None, seed=seed, tasks=Serial(), number=1, deadline=Deadline())
    ready = time.process_time()
    pool, weights, start = choice["pool"], choice["weights"], choice["ends"][0]
    piece = run_stretch(Stretch(plan, pool, weights, start, sweeps=sweeps, seed=seed + 1))
    rungs, torsions = len(plan.temperatures), len(plan.torsions.quads)
    angles = piece.angles[every - 1 :: every].reshape(-1, plan.ladders, rungs, torsions)
    seconds = np.array([built - begun, ready - built, time.process_time() - ready])
    return {
        "smiles": smiles, "symbols": np.array(symbols), "bonds": bonds, "reference": reference,
        "system": openmm.XmlSerializer.serialize(molecule.system), "ligand": molecule.ligand,
        "quads": plan.torsions.quads, "temperatures": plan.temperatures, "angles": angles.astype(np.float32),
        "drawn": np.array(sorted({t for b in plan.blocks if b.kind == "draw" for t in b.torsions}), dtype=np.int64),
        "recorded": plan.recorded, "cold": piece.cold, "seconds": seconds, "calls": piece.calls,
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("molecules", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--every", type=int, default=5, help="sweeps between torsions that are kept")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", default="0/1")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    part, parts = map(int, given.share.split("/"))
    rows = [line.split() for line in given.molecules.read_text(encoding="utf-8").splitlines()]
    for smiles, name in rows[: given.count][part::parts]:
        path = given.out / f"{name.replace('/', '-')}.npz"
        if path.exists():
            continue
        try:
            write_npz(path, sample(name, smiles, given.sweeps, given.every, given.seed))
        except ValueError as error:
            with (given.out / "refused.txt").open("a", encoding="utf-8") as file:
                file.write(f"{smiles} {name}: {error}\n")
