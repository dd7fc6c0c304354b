"""Alanine dipeptide in some 500 waters: exact jumps of phi and psi, accepted by the work, in an ordinary MD script."""

from pathlib import Path

import mdtraj
import numpy as np
import openmm
from openmm import app, unit
from solvent.solvated import solvated

from latentmd import simulate
from latentmd.integrators import JumpReport, TorsionJumps
from latentmd.integrators.torsion_blocks import TorsionBlock, TorsionTable, backbone_blocks

# 1. An ordinary solvated System (solvent/solvated.py): ff14SB, TIP3P, 4 fs with heavy hydrogens, constant pressure.
path = Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb"
topology, system, positions = solvated(path, 500, 350.0)

# 2. Where jumps may go: torsions that the bundled model draws in implicit solvent, flattened.
drawn = simulate(path, model="alanine-dipeptide", mode="latent", time="20ns", walkers=8, out="drawn", settle="off")
frames = mdtraj.load(drawn.trajectories, top=str(drawn.folder / "topology.pdb"))
angles = np.hstack([mdtraj.compute_phi(frames)[1], mdtraj.compute_psi(frames)[1]])
residue = backbone_blocks(topology)[0]
table = TorsionTable.from_samples(angles, least=(10, 18))  # jumps that turn phi by 100 degrees or more

# 3. One more reporter. Lengths are short here, so that the example ends in a minute; docs/howto/explicit-solvent.md.
jumps = TorsionJumps(
    system,
    [TorsionBlock(residue.name, residue.quads, table)],
    length=1.0,
    every=125,
    report=JumpReport("jumps.csv"),
    seed=1,
)
integrator = openmm.LangevinMiddleIntegrator(350 * unit.kelvin, 1 / unit.picosecond, 4 * unit.femtosecond)
simulation = app.Simulation(topology, system, integrator, openmm.Platform.getPlatformByName("CPU"))
simulation.context.setPositions(positions)
simulation.minimizeEnergy(maxIterations=200)
simulation.context.setVelocitiesToTemperature(350 * unit.kelvin, 1)
simulation.reporters = [app.StateDataReporter("state.csv", 125, step=True, volume=True), jumps]
simulation.step(500)
print(jumps)
