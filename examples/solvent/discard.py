"""How frames after a steered jump in water depend on the time that is discarded after the release of the restraints.

    python examples/solvent/discard.py --jumps 6 --steer 5

Alanine dipeptide in 500 waters at 350 K. After each jump the run goes on without bias for 20 ps. Printed are means over
the jumps, by time since the release: how far the torsions phi and psi are from where the model sent them, how far from
where they are 20 ps after the release, and the potential energy above its mean over the last 5 ps of the 20.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from latentmd import load
from latentmd.integrators import SolventJumps
from latentmd.molecule.checks import torsions
from latentmd.systems.builder import Molecule, Protocol, build

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
BONDS = ((6, 8), (8, 14))  # that phi and psi turn about
TIMES = np.array([0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0])  # ps since the release
AFTER = 20.0  # ps without bias after a jump
STEP = 0.25  # ps between looks


def solvated() -> Molecule:
    """The molecule in 500 waters."""
    dry = build(PDB)
    modeller = app.Modeller(dry.topology, dry.positions)
    modeller.addSolvent(app.ForceField("amber14/protein.ff14SB.xml", "amber14/tip3p.xml"), numAdded=500)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "solvated.pdb"
        with path.open("w", encoding="utf-8") as file:
            app.PDBFile.writeFile(modeller.topology, modeller.positions, file)
        return build(path, Protocol(solvent="explicit", temperature=350.0))


def look(simulation: app.Simulation, quads: np.ndarray) -> tuple[np.ndarray, float]:
    """Torsions in radians, and the potential energy in kJ/mol."""
    state = simulation.context.getState(positions=True, energy=True)
    angles = torsions(state.getPositions(asNumpy=True)._value[None], quads)[0]
    return angles, state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of pairs of angles on the circle, degrees, the larger one of phi and psi."""
    return np.degrees(np.abs((a - b + np.pi) % (2 * np.pi) - np.pi)).max(axis=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jumps", type=int, default=6)
    parser.add_argument("--steer", type=float, default=5.0, help="ps")
    options = parser.parse_args()
    molecule = solvated()
    model = load("alanine-dipeptide", "cpu")
    jumps = SolventJumps(molecule.system, molecule.topology, model, steer=options.steer, discard=0.0, seed=1)
    columns = [i for i, quad in enumerate(jumps.quads.tolist()) if tuple(sorted(quad[1:3])) in BONDS]
    quads = jumps.quads[columns]
    platform = openmm.Platform.getPlatformByName("CPU")
    simulation = app.Simulation(molecule.topology, molecule.system, molecule.langevin(1), platform, {"Threads": "1"})
    simulation.context.setPositions(molecule.positions)
    simulation.minimizeEnergy(maxIterations=200)
    simulation.context.setVelocitiesToTemperature(350 * unit.kelvin, 1)
    timestep = molecule.protocol.timestep
    simulation.step(round(10.0 / timestep))
    from_target, from_end, energies, work = [], [], [], []
    for _ in range(options.jumps):
        (jump,) = [jump for _, jump in jumps.jump(simulation) if jump is not None]
        work.append(jump.protocol_work)
        seen = [look(simulation, quads)]
        for _ in range(round(AFTER / STEP)):
            simulation.step(round(STEP / timestep))
            seen.append(look(simulation, quads))
        angles, energy = np.array([angle for angle, _ in seen]), np.array([value for _, value in seen])
        index = np.round(TIMES / STEP).astype(int)
        from_target.append(apart(angles, jump.target[columns])[index])
        from_end.append(apart(angles, angles[-1])[index])
        energies.append((energy - energy[-round(5.0 / STEP) :].mean())[index])
        print(f"jump {len(work)}: work {work[-1]:.0f} kJ/mol, missed {np.degrees(jump.missed):.0f} degrees", flush=True)
    print(f"steering {options.steer:g} ps, {options.jumps} jumps, work {np.mean(work):.0f} ± {np.std(work):.0f} kJ/mol")
    print("ps since release | degrees from target | degrees from 20 ps | kJ/mol above the last 5 ps")
    for row in zip(TIMES, *(np.mean(x, axis=0) for x in (from_target, from_end, energies)), strict=True):
        print("{:16.1f} | {:19.0f} | {:18.0f} | {:6.0f}".format(*row))


if __name__ == "__main__":
    main()
