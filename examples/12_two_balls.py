"""Two elastic balls: does a Hamiltonian predictor help? `python 12_two_balls.py [STEPS]`."""

import sys

import numpy as np

from latentmd import train_world
from latentmd.systems.toy.two_balls import TwoBalls

# `latentmd train world two-balls --out balls` takes the recipe's number of steps.
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 40
stage = {"steps": STEPS, "batch": 32}

# The reference keeps the energy through every collision, whatever the masses.
for masses in ((1.0, 1.0), (1.0, 4.0)):
    balls = TwoBalls(masses=masses)
    states = balls.simulate(10, 200, seed=0)
    energy = balls.energy(states)
    print(f"masses {masses}: largest relative change of the energy {np.abs(energy / energy[:, :1] - 1).max():.0e}")

changes = {"maps": ["PCA"], "data": {"train": 30, "test": 8}, "jepa": stage, "predictor": stage, "decoder": stage}
result = train_world("two-balls", "balls", changes=changes, overwrite=True)
print(result.table)
print("see balls/: " + ", ".join(result.files))
