"""Learn a double pendulum from what its bobs look like, and forecast it: `python 10_double_pendulum.py [STEPS]`."""

import sys

import numpy as np
import torch

from latentmd import train_world
from latentmd.systems.toy.world import frame_stack, world
from latentmd.worlds.model import load_world

# So few steps show the path from trajectories to a forecast, not what can be reached: `latentmd train world
# double-pendulum --out pendulum` takes the recipe's, and `--observe pixels` learns from pictures.
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 80
stage = {"steps": STEPS, "batch": 32}

result = train_world(
    "double-pendulum",
    "pendulum",
    changes={"data": {"train": 20, "test": 5}, "jepa": stage, "predictor": stage, "decoder": stage, "maps": ["PCA"]},
    overwrite=True,
)
print(result.table)
print("see pendulum/: " + ", ".join(result.files))

# The model as anybody would use it: observations in, forecast angles out.
model, manifest = load_world("pendulum/model.pt")
pendulum = world("double-pendulum")
states = pendulum.simulate(1, 40, seed=99)
stacks = frame_stack(pendulum.observe(states, "coordinates"), 2)
with torch.no_grad():
    z = model.encode(torch.from_numpy(stacks[:, 0].copy()))
    for _ in range(10):
        z = model.step(z, torch.ones(1), torch.zeros(1, model.noise_size))
    values = dict(zip(manifest.read_out, model.read(z)[0].tolist(), strict=True))
found = np.arctan2(values["sin(0)"], values["cos(0)"])
print(f"upper angle after {10 * pendulum.interval:g} s: {found:.2f}, by integration {states[0, 11, 0]:.2f} rad")
