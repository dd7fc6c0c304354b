"""ASE: latent steps as MolecularDynamics, then energies, forces and latents of the same model as a calculator."""

from pathlib import Path

import numpy as np
from ase import units
from ase.io import Trajectory, read

from latentmd import load
from latentmd.integrators import LatentCalculator, LatentDynamics

model = load("alanine-dipeptide")  # dynamics and calculator share it
atoms = read(Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb")

# A step of 100 ps; no calculator is needed, and none is called. The generator decides all randomness.
dynamics = LatentDynamics(
    atoms, 100_000 * units.fs, model, rng=np.random.default_rng(1), trajectory="latent.traj", logfile="latent.log"
)
dynamics.run(100)
dynamics.close()
print(f"simulated {dynamics.get_time() / units.fs / 1e6:.1f} ns")

# Energies of all frames in one pass, with forces that are their exact gradient.
calculator = LatentCalculator(model)
with Trajectory("latent.traj") as trajectory:
    frames = list(trajectory)
energies = [row["energy"] for row in calculator.compute_batch(frames, ["energy"])]
print(f"energies from {min(energies):.2f} to {max(energies):.2f} eV")

# One structure, the way ASE does it.
atoms.calc = calculator
print(f"largest force {np.abs(atoms.get_forces()).max():.1f} eV/Å")
print("latent tokens:", calculator.get_descriptors(atoms).shape)
