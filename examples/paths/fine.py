"""MD of peptides with a frame every ps, for score_peptides.py: each run of a reference goes on for a while.

    python examples/paths/fine.py REFERENCE --ns 1 --out fine

REFERENCE is the folder that examples/peptides/score.py takes. Tetrapeptides are simulated; one that is in --out already
is left alone. NAME.npz in --out holds `xyz` float32 (runs, frames, atoms, 3) nm; NAME.pdb is copied beside it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
from runs import peptides, runs

from latentmd import build
from latentmd.replicas.engine import ReplicaEngine

TEMPERATURE, TIMESTEP, EVERY = 350.0, 0.004, 250  # K, ps, and MD steps between frames
SETTLING = 2500  # MD steps after velocities are drawn


def main() -> None:
    """Simulate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--ns", type=float, default=1.0, help="of each run")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name, pdb in peptides(asked.reference).items():
        target = asked.out / f"{name}.npz"
        if target.exists() or len(name) != 4:
            continue
        start = runs(pdb)[:, -1].astype(np.float64)
        copies = ReplicaEngine(build(pdb).system, start, temperature=TEMPERATURE, seed=asked.seed, threads=1)
        copies.minimize(20)
        copies.draw_velocities()
        copies.langevin(SETTLING, timestep=TIMESTEP, friction=1.0)
        made = []
        for _ in range(round(1000 * asked.ns)):
            copies.langevin(EVERY, timestep=TIMESTEP, friction=1.0)
            made.append((copies.positions - copies.positions.mean(axis=1, keepdims=True)).astype(np.float32))
        shutil.copy(pdb, asked.out / f"{name}.pdb")
        np.savez(target, xyz=np.stack(made, axis=1))
        print(target, flush=True)


if __name__ == "__main__":
    main()
