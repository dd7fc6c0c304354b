"""Profiles of `latentmd scan`, vacuum, beside other paths to the same: OpenMM alone, long plain MD of many replicas.

    python examples/ligands/scan_against.py COCCOC glyme-scan openmm
    python examples/ligands/scan_against.py CCCC butane-scan md --ns 6

"openmm" minimises thirty conformers of RDKit at every second angle under a torsion restraint and takes the lowest; "md"
counts how often the torsion is within 1.5 degrees of an angle in 64 replicas of so many nanoseconds at 300 K.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import openmm
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms

from latentmd.analysis.statistics import effective_samples
from latentmd.arrays import Doubles
from latentmd.molecule.checks import torsions
from latentmd.replicas.choice import replica_engine
from latentmd.systems.builder import Molecule, build
from latentmd.systems.protocol import InputOptions, Protocol
from latentmd.systems.sanity import in_nm
from latentmd.units import thermal_energy

REPLICAS, CONFORMERS, HALF = 64, 30, np.deg2rad(1.5)


def lowest(molecule: Molecule, smiles: str, quad: list[int], degrees: Doubles) -> Doubles:
    """Lowest energies (angles,) in kJ/mol by OpenMM's minimiser from RDKit's conformers."""
    held = openmm.CustomTorsionForce("5e4*(1-cos(theta-t0))")
    held.addGlobalParameter("t0", 0.0)
    held.addTorsion(*quad)
    held.setForceGroup(7)
    molecule.system.addForce(held)
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    numbers = list(AllChem.EmbedMultipleConfs(mol, CONFORMERS, randomSeed=5))
    context = openmm.Context(
        molecule.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    found = np.full(len(degrees), np.inf)
    for i, angle in enumerate(degrees):
        context.setParameter("t0", np.deg2rad(angle))
        for number in numbers:
            rdMolTransforms.SetDihedralDeg(mol.GetConformer(number), *quad, float(angle))
            context.setPositions(mol.GetConformer(number).GetPositions() / 10)
            openmm.LocalEnergyMinimizer.minimize(context, 0.5, 2000)
            state = context.getState(energy=True, groups=set(range(32)) - {7})
            found[i] = min(found[i], state.getPotentialEnergy()._value)
    return found


def counted(molecule: Molecule, quad: list[int], degrees: Doubles, ns: float) -> tuple[Doubles, Doubles]:
    """-kT ln p in kJ/mol above the lowest and standard errors, (angles,), of plain MD."""
    engine = replica_engine(molecule.system, np.repeat(in_nm(molecule.positions)[None], REPLICAS, axis=0), seed=11)
    engine.minimize(200)
    engine.draw_velocities()
    engine.langevin(50_000, timestep=0.002, friction=1.0)
    series = np.empty((REPLICAS, round(2000 * ns)))
    for frame in range(series.shape[1]):
        engine.langevin(250, timestep=0.002, friction=1.0)
        series[:, frame] = torsions(engine.positions, np.array([quad]))[:, 0]
    inside = np.abs(np.angle(np.exp(1j * (series[..., None] - np.deg2rad(degrees))))) < HALF
    shares = inside.mean(axis=(0, 1))
    shares[shares == 0] = np.nan
    effective = [effective_samples(list(inside[..., i].astype(float))) for i in range(len(degrees))]
    kt = thermal_energy(300.0)
    return kt * np.log(np.nanmax(shares) / shares), kt * np.sqrt((1 - shares) / shares / effective)


def main() -> None:
    """Print both profiles, and how far they are apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("smiles")
    parser.add_argument("folder", type=Path, help="of `latentmd scan`, with one bond")
    parser.add_argument("other", choices=("openmm", "md"))
    parser.add_argument("--ns", type=float, default=6.0, help="of each replica")
    given = parser.parse_args()
    with (given.folder / "scan.csv").open() as file:
        rows = list(csv.DictReader(file))
    quad = [int("".join(filter(str.isdigit, name))) - 1 for name in rows[0]["torsion"].split("-")]
    molecule = build(Path("molecule"), Protocol("vacuum", temperature=300.0, inputs=InputOptions(smiles=given.smiles)))
    rows = rows[::2] if given.other == "openmm" else rows
    column = "energy_kJ_per_mol" if given.other == "openmm" else "free_energy_kJ_per_mol"
    degrees, own = (np.array([float(row[name] or "nan") for row in rows]) for name in ("degrees", column))
    if given.other == "openmm":
        other = lowest(molecule, given.smiles, quad, degrees)
        print(f"largest difference {np.nanmax(np.abs(own - other)):.3f} kJ/mol")
        return
    other, errors = counted(molecule, quad, degrees, given.ns)
    both = np.hypot(errors, [float(row["standard_error_kJ_per_mol"] or "nan") for row in rows])
    for angle, scanned, md, apart in zip(degrees, own, other, (own - other) / both, strict=True):
        print(f"{angle:6.0f}°  scan {scanned:6.2f}  MD {md:6.2f} kJ/mol  {apart:5.2f} standard errors apart")


if __name__ == "__main__":
    main()
