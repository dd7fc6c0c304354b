"""Write the files of this folder: alanine dipeptide with ff14SB parameters in the formats of four programs.

Needs ParmEd (`pip install parmed`): `python tests/systems/own_force_field/make.py`.
"""

from __future__ import annotations

import copy
from pathlib import Path

import openmm
import parmed
from openmm import app, unit

from latentmd.systems.bundled import bundled

HERE = Path(__file__).parent

pdb = app.PDBFile(str(bundled("alanine_dipeptide")))
field = app.ForceField("amber14/protein.ff14SB.xml", "implicit/obc2.xml")
bare = app.ForceField("amber14/protein.ff14SB.xml").createSystem(pdb.topology, constraints=None)
structure = parmed.openmm.load_topology(pdb.topology, bare, pdb.positions)
for atom in structure.atoms:  # mbondi2 radii, which OBC2 was fitted with (Onufriev, Bashford and Case 2004)
    polar = atom.element == 1 and atom.bond_partners[0].element == 7
    atom.solvent_radius = {1: 1.3 if polar else 1.2, 6: 1.7, 7: 1.55, 8: 1.5}[atom.element]
    atom.screen = {1: 0.85, 6: 0.72, 7: 0.79, 8: 0.85}[atom.element]
for name in ("ala.prmtop", "ala.rst7", "ala.top", "ala.gro", "ala.crd"):
    structure.save(str(HERE / name), overwrite=True)

for atom in structure.atoms:  # CHARMM names parameters by types of atoms: one type for each atom
    atom.atom_type = copy.copy(atom.atom_type)
    atom.type = atom.atom_type.name = f"{atom.element_name}{atom.idx}"
for torsion in [torsion for torsion in structure.dihedrals if torsion.improper]:  # harmonic, not periodic, in CHARMM
    torsion.delete()
    structure.dihedrals.remove(torsion)
parameters = parmed.charmm.CharmmParameterSet.from_structure(structure)
parameters.write(par=str(HERE / "ala.prm"), top=str(HERE / "ala.rtf"))
psf = parmed.charmm.CharmmPsfFile.from_structure(structure)
psf.write_psf(str(HERE / "ala.psf"))
psf = parmed.charmm.CharmmPsfFile(str(HERE / "ala.psf"))
psf.load_parameters(parmed.charmm.CharmmParameterSet(str(HERE / "ala.rtf"), str(HERE / "ala.prm")))
context = openmm.Context(
    psf.createSystem(), openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
)
context.setPositions(pdb.positions)
print("energy by ParmEd of ala.psf with ala.rtf and ala.prm:", context.getState(energy=True).getPotentialEnergy())

system = field.createSystem(pdb.topology, constraints=app.HBonds, hydrogenMass=3 * unit.amu)
text = (HERE / "ala.top").read_text()
(HERE / "ala.top").write_text("; written by make.py with ParmEd\n" + text[text.index("\n[ defaults ]") :])
(HERE / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
(HERE / "ala.pdb").write_text(bundled("alanine_dipeptide").read_text())
