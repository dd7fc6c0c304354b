"""Alanine dipeptide in some 500 waters: a model chooses torsions, restraints steer the solute there, water follows."""

import csv
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from latentmd import load
from latentmd.integrators import SolventJumps
from latentmd.molecule.checks import torsions
from latentmd.systems.builder import Protocol, build

# ff14SB and TIP3P; the model knows 350 K and no other temperature. Times are short, so that the example ends in a
# minute; docs/howto/explicit-solvent.md says what they should be, and what such a run is worth.
pdb = Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb"
dry = build(pdb)
modeller = app.Modeller(dry.topology, dry.positions)
modeller.addSolvent(app.ForceField("amber14/protein.ff14SB.xml", "amber14/tip3p.xml"), numAdded=500)
with open("solvated.pdb", "w", encoding="utf-8") as file:
    app.PDBFile.writeFile(modeller.topology, modeller.positions, file)
molecule = build("solvated.pdb", Protocol(solvent="explicit", temperature=350.0))
model = load("alanine-dipeptide", "cpu")
jumps = SolventJumps(molecule.system, molecule.topology, model, time=100.0, steer=1.0, discard=0.5, seed=1)

platform = openmm.Platform.getPlatformByName("CPU")
simulation = app.Simulation(molecule.topology, molecule.system, molecule.langevin(seed=1), platform, {"Threads": "1"})
simulation.context.setPositions(molecule.positions)
simulation.minimizeEnergy(maxIterations=100)
simulation.context.setVelocitiesToTemperature(350 * unit.kelvin, 1)
simulation.step(250)

atom = {(a.residue.name, a.name): a.index for a in molecule.topology.atoms()}
n, ca, c = (atom["ALA", name] for name in ("N", "CA", "C"))
PHI_PSI = np.array([[atom["ACE", "C"], n, ca, c], [n, ca, c, atom["NME", "N"]]])
rows = []


def record(phase: str) -> None:
    """Keep a frame: its phase, time and torsions. Statistics belong to the phase "md" alone."""
    state = simulation.context.getState(positions=True)
    phi, psi = np.degrees(torsions(state.getPositions(asNumpy=True)._value[None], PHI_PSI)[0])
    rows.append((phase, f"{state.getTime().value_in_unit(unit.picosecond):.3f}", f"{phi:.1f}", f"{psi:.1f}"))


for _ in range(3):
    for phase, jump in jumps.jump(simulation):
        record(phase)
        if jump is not None:
            print(f"steered with {jump.protocol_work:.0f} kJ/mol, {np.degrees(jump.missed):.0f} degrees short at most")
    for _ in range(4):
        simulation.step(50)
        record("md")

with open("frames.csv", "w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows([("phase", "time_ps", "phi", "psi"), *rows])
waters = sum(residue.name == "HOH" for residue in molecule.topology.residues())
print(f"{waters} waters, {len(rows)} frames in frames.csv, {sum(row[0] == 'md' for row in rows)} of them without bias")
