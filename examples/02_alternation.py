"""Latent steps and molecular dynamics by turns: the model proposes where to go, MD makes the statistics there local."""

import csv
from pathlib import Path

import openmm
from openmm import app, unit

from latentmd.integrators import LatentIntegrator, LatentReporter, alternate
from latentmd.systems.builder import build

# `build` repairs the PDB file and parametrises it as the model's training data were: ff14SB, OBC2, 350 K, 4 fs.
molecule = build(Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb")

latent = LatentIntegrator(350 * unit.kelvin, "alanine-dipeptide", system=molecule.system, topology=molecule.topology)
md = molecule.langevin(seed=1)

# One cycle: 500 MD steps (2 ps), then one latent step of the model's longest lag.
integrator, schedule = alternate(md, latent, cycle=(500, 1))

platform = openmm.Platform.getPlatformByName("Reference")  # the fastest one below about 100 atoms
simulation = app.Simulation(molecule.topology, molecule.system, integrator, platform)
simulation.context.setPositions(molecule.positions)
simulation.minimizeEnergy()

# The schedule comes first; it switches integrators inside `simulation.step`. The reporter writes true times, which
# OpenMM's trajectory reporters (step number times the first step size) do not know in a mixed run.
simulation.reporters += [schedule, LatentReporter("alternation.csv", 501, latent, schedule)]
simulation.step(20 * 501)

with open("alternation.csv", newline="") as file:
    rows = list(csv.DictReader(file))
print(f"{len(rows)} cycles, {rows[-1]['time_ps']} ps simulated, {schedule.relaxations} structures relaxed")
print(f"{rows[-1]['latent_steps']} latent steps from {rows[-1]['draws']} decoded structures")
