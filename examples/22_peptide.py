"""A peptide that no model was trained on: zero-shot with the bundled model of many peptides, all atoms, at once."""

import mdtraj
import numpy as np

import latentmd
from latentmd.systems.bundled import bundled

# Met-enkephalin, Tyr-Gly-Gly-Phe-Met: longer than the peptides of the training set, and not among them.
run = latentmd.simulate(bundled("met_enkephalin"), mode="latent", time="10ns", walkers=8, seed=1, out="enkephalin")
found = run.summary["model"]["zero_shot"]
print(f"{found['sequence']}, trained on it: {found['trained']}; nearest: {found['nearest'][0][0]}")
pairs, far = found["pairs"], found["latent_distance"]
print(f"{100 * pairs:.0f} % of its pairs of neighbours occur in training; latent distance {far:.1f}")

frames = mdtraj.join([mdtraj.load(str(file), top=str(run.topology)) for file in run.trajectories])
ends = frames.topology.select("name CA")[[0, -1]]
print(f"{len(frames)} frames; end to end {mdtraj.compute_distances(frames, [ends]).mean():.2f} nm on average")
atoms, psi = mdtraj.compute_psi(frames)
for first, angles in zip(atoms[:, 0], np.degrees(psi).T, strict=True):
    helical = 100 * np.mean((angles > -90) & (angles < 30))
    print(f"{frames.topology.atom(first).residue}: psi between -90 and 30 degrees in {helical:.0f} % of the frames")

# The same model as a file of this peptide alone, for OpenMM and ASE integrators.
manifest = latentmd.bind_file(bundled("met_enkephalin"), "enkephalin.pt")
print(f"enkephalin.pt: {manifest.name}, steps of {manifest.lag[0]:g} to {manifest.lag[1]:g} ps")
