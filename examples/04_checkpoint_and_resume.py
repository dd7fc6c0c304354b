"""A run resumed from a checkpoint repeats the uninterrupted run, bit for bit."""

from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from latentmd.integrators import LatentIntegrator, alternate
from latentmd.systems.builder import build

molecule = build(Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb")
latent = LatentIntegrator(
    350 * unit.kelvin, "alanine-dipeptide", system=molecule.system, topology=molecule.topology, seed=7
)
integrator, schedule = alternate(molecule.langevin(seed=7), latent, cycle=(100, 1))
platform = openmm.Platform.getPlatformByName("Reference")
simulation = app.Simulation(molecule.topology, molecule.system, integrator, platform)
simulation.context.setPositions(molecule.positions)
simulation.minimizeEnergy()
simulation.reporters.append(schedule)


def positions() -> np.ndarray:
    return simulation.context.getState(positions=True).getPositions(asNumpy=True)._value


# The latent noise is a function of the seed, the stream and the number of latent steps, which the checkpoint holds.
simulation.step(450)
simulation.saveCheckpoint("run.chk")
simulation.step(600)
uninterrupted = positions()

simulation.loadCheckpoint("run.chk")
print("back at step", simulation.currentStep, "and", simulation.context.getTime())
simulation.step(600)
print("positions are bit-equal:", np.array_equal(positions(), uninterrupted))
