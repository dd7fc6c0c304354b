"""Transition paths between two states, then the transition of one of them filled in to a frame every ps."""

import mdtraj
import numpy as np
import torch

import latentmd

# Twenty paths of 500 ps from the most populated state of the model to the one with phi > 0.
made = latentmd.paths(
    model="alanine-dipeptide", origin=1, target=3, time="500ps", every="10ps", count=20, seed=1, out="paths"
)
for way in made.summary["channels"]:
    print(f"{100 * way['share']:.0f} % of the paths by states {way['states']}")
print(f"probability of the end after 500 ps: {np.exp(made.summary['log_probability_of_end']['model']):.3f}")

# The ten frames around the transition of the first path, filled in.
first = mdtraj.load(str(made.trajectories[0]), top=str(made.topology))
phi = np.degrees(mdtraj.compute_phi(first)[1][:, 0])
jump = int(np.argmax(phi > 0))
part = first[max(0, jump - 5) : jump + 5]
part.save_xtc("transition.xtc")
fine = latentmd.upsample("transition.xtc", made.topology, every="1ps", out="transition")
print(f"{fine.summary['frames_made']} frames between {len(part)} given ones, in {fine.trajectory}")

# The same model in the latent: any mask of known frames. Here the first and the last of eleven, 5 ps apart.
model = latentmd.load("alanine-dipeptide", device="cpu")
slow = model.encode(first.xyz[[0, -1]])
known, mask = torch.zeros(100, 11, 1, slow.shape[-1]), torch.zeros(100, 11, 1, dtype=torch.bool)
known[:, 0], known[:, -1] = slow[0], slow[1]
mask[:, 0] = mask[:, -1] = True
times = 5.0 * torch.arange(11.0).expand(100, -1)
noise = torch.randn(known.shape, generator=torch.Generator().manual_seed(0))
drawn = model.trajectories.sample(known, mask, times, noise)
print(f"{len(drawn)} latent trajectories of {drawn.shape[1]} frames between two points")
