"""Reference free energy of the phi > 0 basin of alanine dipeptide at 300 K, from well-tempered metadynamics in OpenMM.

    python examples/statistics/metadynamics.py --runs 3 --time 6ns --out reference.json

Each run biases phi alone. Two estimates a run, which should agree: from the bias itself, -(T + dT) / dT V(phi)
(Barducci, Bussi and Parrinello, Phys. Rev. Lett. 100, 020603, 2008), and from the frames of its last two thirds, each
weighted with exp(V(phi) / kT) of the final bias.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import openmm
from openmm import app
from openmm.app.metadynamics import BiasVariable, Metadynamics

from latentmd.systems.builder import Protocol, build
from latentmd.units import parse_time, thermal_energy

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
TEMPERATURE, BIAS_FACTOR, HEIGHT, WIDTH, EVERY = 300.0, 8.0, 1.0, 0.25, 125  # K, -, kJ/mol, rad, steps
KT = thermal_energy(TEMPERATURE)
BASIN = (0.0, np.deg2rad(125.0))


def run(seed: int, time: float) -> tuple[float, float]:
    """Free energy of the basin against everything else, kcal/mol, by bias and by weights, from `time` ps."""
    molecule = build(PDB, Protocol(temperature=TEMPERATURE))
    atoms = {(atom.residue.index, atom.name): atom.index for atom in molecule.topology.atoms()}
    phi = openmm.CustomTorsionForce("theta")
    phi.addTorsion(atoms[0, "C"], atoms[1, "N"], atoms[1, "CA"], atoms[1, "C"])
    variable = BiasVariable(phi, -np.pi, np.pi, WIDTH, True, gridWidth=181)
    bias = Metadynamics(
        molecule.system, [variable], TEMPERATURE, biasFactor=BIAS_FACTOR, height=HEIGHT, frequency=EVERY
    )
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(molecule.topology, molecule.system, molecule.langevin(seed), platform)
    simulation.context.setPositions(molecule.positions)
    simulation.minimizeEnergy(maxIterations=200)
    simulation.context.setVelocitiesToTemperature(TEMPERATURE, seed + 1)
    frames = []
    for _ in range(round(time / molecule.protocol.timestep / EVERY)):
        bias.step(simulation, EVERY)
        frames.append(bias.getCollectiveVariables(simulation)[0])
    grid = np.linspace(-np.pi, np.pi, 181)
    surface = bias.getFreeEnergy()._value  # kJ/mol
    late = np.array(frames[len(frames) // 3 :])
    final = -surface * (1 - 1 / BIAS_FACTOR)
    weights = np.exp((np.interp(late, grid, final) - final.max()) / KT)
    return free_energy(grid[:-1], np.exp(-(surface - surface.min()) / KT)[:-1]), free_energy(late, weights)


def free_energy(phi: np.ndarray, weights: np.ndarray) -> float:
    """-kT ln(p / (1 - p)) of the basin in kcal/mol."""
    inside = (phi > BASIN[0]) & (phi < BASIN[1])
    return float(-KT / 4.184 * np.log(weights[inside].sum() / weights[~inside].sum()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--time", type=parse_time, default="6ns")
    parser.add_argument("--out", default="reference.json")
    options = parser.parse_args()
    pairs = [run(seed, options.time) for seed in range(1, options.runs + 1)]
    values = np.mean(pairs, axis=1)
    result = {"kcal_per_mol": float(values.mean()), "runs": pairs}
    result["standard_error"] = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
    print(json.dumps(result, indent=1))
