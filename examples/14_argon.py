"""Liquid argon from OpenMM, the liquid of Rahman (1964): `python 14_argon.py [STEPS]`."""

import sys

import numpy as np

from latentmd import train_world
from latentmd.systems.toy.argon import Argon
from latentmd.units import GAS_CONSTANT

# `latentmd train world argon --out argon` takes the recipe's number of steps.
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 8
stage = {"steps": STEPS, "batch": 8}

argon = Argon(settle=2.0)
states = argon.simulate(2, 60, seed=0)
kinetic = 0.5 * 39.948 * (states[..., 3:] ** 2).sum((-1, -2))
temperature = 2 * kinetic.mean() / (3 * (argon.particles - 1) * GAS_CONSTANT)
energy = argon.energy(states)
drift = np.abs(energy - energy[:, :1]).max()
r, g = argon.radial_distribution(states)
print(f"{argon.particles} atoms at {temperature:.0f} K; energy moves by {drift:.3f} kJ/mol")
print(f"radial distribution: first peak g = {g.max():.2f} at r = {r[g.argmax()]:.3f} nm (Rahman 1964: 0.37 nm)")

changes = {
    "maps": ["PCA"],
    "encoder": {"dim": 16, "width": 16},
    "data": {"train": 3, "test": 2, "frames": 25},
    "jepa": stage,
    "predictor": stage,
    "decoder": stage,
}
result = train_world("argon", "argon", changes=changes, overwrite=True)
print(result.table)
print("see argon/: " + ", ".join(result.files))
