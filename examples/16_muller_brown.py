"""Müller–Brown: exact populations, bursts that keep them, a learned predictor: `python 16_muller_brown.py [STEPS]`."""

import sys

import numpy as np

from latentmd import train_world
from latentmd.systems.toy.muller_brown import MullerBrown

# `latentmd train world muller-brown --out surface` takes the recipe's number of steps.
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 100

surface = MullerBrown()
print("exact populations:", {name: round(value, 4) for name, value in surface.populations().items()})

# A thousand independent walkers from equilibrium, each moved by a burst of unbiased dynamics.
start = surface.equilibrium(1000, np.random.default_rng(0))
end = surface.propagate(start, 500, seed=1)
for name, inside in surface.basins(end[:, :2]).items():
    error = np.sqrt(inside.var() / len(inside))
    print(f"after a burst {inside.mean():.3f} ± {error:.3f} of the walkers are in {name!r}")

predictor = {"steps": STEPS, "batch": 512}
changes = {"maps": ["PCA"], "data": {"train": 100, "test": 10}, "predictor": predictor, "decoder": {"steps": 200}}
result = train_world("muller-brown", "surface", changes=changes, overwrite=True)
print(result.table)
print("see surface/: " + ", ".join(result.files))
