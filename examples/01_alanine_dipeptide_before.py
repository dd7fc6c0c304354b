"""Alanine dipeptide, before (plain OpenMM) and after (latent steps): the two scripts differ in two lines of code."""

from pathlib import Path

import openmm
from openmm import app, unit

pdb = app.PDBFile(str(Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb"))
force_field = app.ForceField("amber14/protein.ff14SB.xml", "implicit/obc2.xml")
system = force_field.createSystem(pdb.topology, constraints=app.HBonds, hydrogenMass=3 * unit.amu)

integrator = openmm.LangevinMiddleIntegrator(350 * unit.kelvin, 1 / unit.picosecond, 4 * unit.femtosecond)

simulation = app.Simulation(pdb.topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
simulation.context.setPositions(pdb.positions)
simulation.minimizeEnergy()
simulation.reporters.append(app.StateDataReporter("alanine.csv", 10, time=True, potentialEnergy=True))
simulation.reporters.append(app.DCDReporter("alanine.dcd", 10))
simulation.step(200)
print("simulated", simulation.context.getTime())
