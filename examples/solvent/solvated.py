"""A molecule in a box of TIP3P water: ff14SB, PME, hydrogens of 3 amu for steps of 4 fs, and constant pressure."""

from __future__ import annotations

from pathlib import Path

import openmm
from openmm import app, unit


def solvated(
    path: Path, waters: int, kelvin: float, every: int = 25, cutoff: float = 0.9
) -> tuple[app.Topology, openmm.System, unit.Quantity]:
    """Topology, System and positions; the barostat acts `every` so many steps, the cutoff is in nm."""
    pdb, field = app.PDBFile(str(path)), app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addSolvent(field, model="tip3p", numAdded=waters)
    system = field.createSystem(
        modeller.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=cutoff * unit.nanometer,
        constraints=app.HBonds,
        hydrogenMass=3 * unit.amu,
    )
    system.addForce(openmm.MonteCarloBarostat(1 * unit.bar, kelvin * unit.kelvin, every))
    return modeller.topology, system, modeller.positions
