"""Populations of a double well from a learned Langevin predictor: `python 15_double_well.py [STEPS]`."""

import sys

import torch

from latentmd import train_world
from latentmd.systems.toy.double_well import DoubleWell
from latentmd.worlds.model import load_world

# `latentmd train world double-well --out well` takes the recipe's number of steps.
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 150

well = DoubleWell()
changes = {
    "maps": ["PCA"],
    "data": {"train": 100, "test": 10},
    "predictor": {"steps": STEPS, "batch": 512},
    "decoder": {"steps": 200},
}
result = train_world("double-well", "well", changes=changes, overwrite=True)
print(result.table)

# Many walkers, all started in the left well, moved by the model alone until they have forgotten where they came from.
model, manifest = load_world("well/model.pt")
generator = torch.Generator().manual_seed(0)
walkers, lag = 1000, torch.ones(1000)
start = torch.tensor([[-1.0, 0.0]]).expand(walkers, 2)
with torch.no_grad():
    z = model.encode(start)
    for _ in range(1000):
        z = model.step(z, lag, torch.randn(walkers, model.noise_size, generator=generator))
    x = model.read(z)[:, manifest.read_out.index("0")].numpy()
found = {name: float(inside.mean()) for name, inside in well.basins(x[:, None]).items()}
for name, exact in well.populations().items():
    print(f"{name}: population {found[name]:.3f} from the model, {exact:.3f} exactly")

fast = DoubleWell(inertia=False, timestep=0.002)
print(f"without inertia the mean first-passage time from left to right is {fast.mean_first_passage(-1, 1):.1f} exactly")
