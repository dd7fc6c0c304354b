"""A Lennard-Jones fluid, one latent token per particle: `python 13_lennard_jones.py [STEPS]`."""

import sys

import numpy as np

from latentmd import train_world
from latentmd.systems.toy.lennard_jones import LennardJones

# `latentmd train world lennard-jones --out fluid` takes the recipe's number of steps.
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 15
stage = {"steps": STEPS, "batch": 8}

fluid = LennardJones(settle=2.0)
states = fluid.simulate(4, 60, seed=0)
energy = fluid.energy(states)
r, g = fluid.radial_distribution(states)
drift = np.abs(energy - energy[:, :1]).max()
print(f"{fluid.particles} particles in a box of {fluid.box:g}: energy moves by {drift:.3f}")
print(f"radial distribution: first peak g = {g.max():.2f} at r = {r[g.argmax()]:.2f}")

changes = {
    "maps": ["PCA"],
    "encoder": {"dim": 16, "width": 16},
    "data": {"train": 6, "test": 3, "frames": 30},
    "jepa": stage,
    "predictor": stage,
    "decoder": stage,
}
result = train_world("lennard-jones", "fluid", changes=changes, overwrite=True)
print(result.table)
print("see fluid/: " + ", ".join(result.files))
