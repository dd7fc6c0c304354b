"""The model moves the peptide; a sodium ion beside it, held by a restraint, is left to molecular dynamics."""

from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from latentmd.integrators import LatentIntegrator, alternate

pdb = app.PDBFile(str(Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb"))
ion = app.Topology()
ion.addAtom("NA", app.element.sodium, ion.addResidue("NA", ion.addChain()))
modeller = app.Modeller(pdb.topology, pdb.positions)
modeller.add(ion, [openmm.Vec3(1.2, 0.2, 0.8)] * unit.nanometer)

force_field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml", "implicit/obc2.xml")
system = force_field.createSystem(modeller.topology, constraints=app.HBonds, hydrogenMass=3 * unit.amu)
peptide = [atom.index for atom in modeller.topology.atoms() if atom.residue.name != "NA"]
sodium = len(peptide)

# A harmonic restraint between the ion and the alpha carbon, like any other force of the script.
alpha_carbon = next(atom.index for atom in modeller.topology.atoms() if atom.name == "CA")
restraint = openmm.CustomBondForce("0.5 * k * max(0, r - reach)^2")
restraint.addPerBondParameter("k")
restraint.addPerBondParameter("reach")
restraint.addBond(alpha_carbon, sodium, [500.0, 1.0])
system.addForce(restraint)

latent = LatentIntegrator(
    350 * unit.kelvin, "alanine-dipeptide", system=system, topology=modeller.topology, atoms=peptide
)
md = openmm.LangevinMiddleIntegrator(350 * unit.kelvin, 1 / unit.picosecond, 4 * unit.femtosecond)
md.setRandomNumberSeed(1)
integrator, schedule = alternate(md, latent, cycle=(200, 1))
platform = openmm.Platform.getPlatformByName("Reference")
simulation = app.Simulation(modeller.topology, system, integrator, platform)
simulation.context.setPositions(modeller.positions)
simulation.minimizeEnergy()
simulation.reporters.append(schedule)

for _ in range(5):
    simulation.step(201)
    x = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
    distance = np.linalg.norm(x[alpha_carbon] - x[sodium])
    print(f"{simulation.context.getTime()}: the ion is {distance:.2f} nm from the alpha carbon")
