"""OpenMM-ML: the model's energy head as a potential (`pip install 'latentmd[openmmml]'`)."""

from pathlib import Path

import openmm
from openmm import app, unit
from openmmml import MLPotential

pdb = app.PDBFile(str(Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb"))

# Energies of the force field and solvent that the model was trained on, by its energy head. MD with it moves by forces,
# in steps of 0.5 fs (no constraints): it is for energies of structures and for mixed systems, not for speed.
potential = MLPotential("latentmd", modelPath="alanine-dipeptide")
system = potential.createSystem(pdb.topology)

integrator = openmm.LangevinMiddleIntegrator(350 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond)
simulation = app.Simulation(pdb.topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
simulation.context.setPositions(pdb.positions)
print("energy before", simulation.context.getState(energy=True).getPotentialEnergy())
simulation.minimizeEnergy(maxIterations=50)
print("energy after ", simulation.context.getState(energy=True).getPotentialEnergy())
simulation.step(100)
print("energy of MD ", simulation.context.getState(energy=True).getPotentialEnergy())
