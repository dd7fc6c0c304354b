"""Reference MD of alanine dipeptide for score.py: many copies at once, one core.

    python examples/paths/reference.py --ns 320 --seed 11 --out train.npy
    python examples/paths/reference.py --ns 640 --seed 22 --out test.npy

Copies start at 700 K, so that they begin in different basins, and are at 350 K for 200 ps before the first frame. The
result has shape (copies, frames, atoms, 3), nm, a frame every ps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from openmm import unit

from latentmd import build
from latentmd.replicas.engine import ReplicaEngine
from latentmd.systems.bundled import bundled

COPIES, EVERY = 16, 250  # copies at once, and MD steps of 4 fs between frames
HOT, COLD = 700.0, 350.0  # K


def main() -> None:
    """Simulate and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ns", type=float, required=True, help="of all copies together")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    molecule = build(bundled("alanine_dipeptide"))
    start = np.array(molecule.positions.value_in_unit(unit.nanometer))
    copies = ReplicaEngine(
        molecule.system, np.repeat(start[None], COPIES, 0), temperature=COLD, seed=asked.seed, threads=1
    )
    copies.minimize(200)
    copies.draw_velocities()
    copies.set_temperatures(HOT)
    copies.langevin(30_000, timestep=0.002, friction=1.0)
    copies.set_temperatures(COLD)
    copies.langevin(50_000, timestep=0.004, friction=1.0)
    frames = int(asked.ns * 1000 / COPIES)
    made = np.lib.format.open_memmap(asked.out, "w+", np.float32, (COPIES, frames, len(start), 3))
    for k in range(frames):
        copies.langevin(EVERY, timestep=0.004, friction=1.0)
        made[:, k] = copies.positions - copies.positions.mean(axis=1, keepdims=True)
    made.flush()


if __name__ == "__main__":
    main()
