"""How stable is the latent dynamics? Long rollouts of many walkers, undecoded: `python 07_long_rollout.py [STEPS]`."""

import io
import sys

import numpy as np
import torch
from openmm.app import PDBFile

import latentmd

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 500
WALKERS, LAG = 64, 20.0  # ps

torch.set_num_threads(1)  # as fast as more, for a network this small
model = latentmd.load("alanine-dipeptide")
start = PDBFile(io.StringIO(model.manifest.topology)).getPositions(asNumpy=True)._value
slow = model.encode(np.repeat(start[None], WALKERS, axis=0))

generator = torch.Generator().manual_seed(0)
lag = torch.full((WALKERS,), LAG)
largest = 0.0
with torch.no_grad():
    for _ in range(STEPS):
        slow = model.module.step(slow, lag, torch.randn(WALKERS, model.module.step_noise, generator=generator))
        largest = max(largest, float(slow.abs().max()))

finite = int(torch.isfinite(slow).all(dim=(1, 2)).sum())
print(f"{WALKERS} walkers, {STEPS} steps of {LAG:g} ps: {finite} finite, largest coordinate {largest:.1f} deviations")
