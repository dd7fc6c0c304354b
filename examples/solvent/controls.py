"""Two other ways to the population of phi > 0 of alanine dipeptide in water, at counted force calls.

    python examples/solvent/controls.py rest2 --out rest2 --time 3ns
    python examples/solvent/controls.py metadynamics --out metadynamics --time 3ns
    python examples/solvent/jumps.py compare plain jumps bias rest2 metadynamics

The box, force field and OUT.csv are those of `jumps.py`. `rest2` is replica exchange with solute tempering (Wang,
Friesner and Berne, J. Phys. Chem. B 115, 9431, 2011): three replicas in which the solute's charges, Lennard-Jones
energies and torsions are scaled, neighbours exchanged every 0.4 ps; frames are of the unscaled replica, and time counts
all three. `metadynamics` is well tempered, by OpenMM's own class, on phi and psi: hills of 1 kJ/mol every 0.4 ps, bias
factor 8. Its frames weigh exp((V(s, t) - c(t)) / kT) with c(t) of Tiwary and Parrinello (J. Phys. Chem. B 119, 736,
2015). Neither resumes; rows are written as they are made.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator

import numpy as np
import openmm
from jumps import STEP, molecule, start
from openmm import app, unit

from latentmd.integrators.torsion_blocks import backbone_blocks
from latentmd.molecule.checks import torsions
from latentmd.units import parse_time, thermal_energy

WATERS = 500
KT = thermal_energy(300.0)
Row = tuple[float, float, float, float]
SCALES = (1.0, 0.7, 0.5)  # of the solute's energies
LOOK = 100  # steps between looks, exchanges and hills
WIDTH, FACTOR, HEIGHT = np.deg2rad(15.0), 8.0, 1.0  # of hills: radians, bias factor, kJ/mol


def scaled(system: openmm.System, solute: int, scale: float) -> openmm.System:
    """A System whose first `solute` atoms interact by `scale`, and with the others by its square root."""
    hot = copy.deepcopy(system)
    for force in hot.getForces():
        if isinstance(force, openmm.NonbondedForce):
            for i in range(solute):
                charge, sigma, epsilon = force.getParticleParameters(i)
                force.setParticleParameters(i, charge * np.sqrt(scale), sigma, epsilon * scale)
            for i in range(force.getNumExceptions()):
                first, second, product, sigma, epsilon = force.getExceptionParameters(i)
                if first < solute and second < solute:
                    force.setExceptionParameters(i, first, second, *(product * scale, sigma, epsilon * scale))
        elif isinstance(force, openmm.PeriodicTorsionForce):
            for i in range(force.getNumTorsions()):
                *atoms, fold, phase, k = force.getTorsionParameters(i)
                force.setTorsionParameters(i, *atoms, fold, phase, k * scale)
    return hot


def angles(simulation: app.Simulation, quads: np.ndarray) -> tuple[float, float]:
    """Phi and psi in radians."""
    positions = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
    phi, psi = torsions(positions[None], quads)[0].tolist()
    return phi, psi


def energy(simulation: app.Simulation, state: openmm.State) -> float:
    """Potential energy in kT of another's positions and box; the simulation is left there."""
    simulation.context.setPeriodicBoxVectors(*state.getPeriodicBoxVectors())
    simulation.context.setPositions(state.getPositions(asNumpy=True))
    value = simulation.context.getState(energy=True).getPotentialEnergy()
    return float(value.value_in_unit(unit.kilojoule_per_mole) / KT)


def rest2(arguments: argparse.Namespace) -> Iterator[Row]:
    """Rows of time of all replicas (ps), phi, psi and ln weight of the unscaled replica."""
    topology, system, positions = molecule(WATERS)
    quads = backbone_blocks(topology)[0].quads
    solute = sum(atom.residue.name in ("ACE", "ALA", "NME") for atom in topology.atoms())
    hot = [scaled(system, solute, scale) for scale in SCALES]
    replicas = [start(topology, one, positions, arguments.seed + i) for i, one in enumerate(hot)]
    rng, tried, swapped = np.random.default_rng(arguments.seed), 0, 0
    rounds = round(parse_time(arguments.time) / STEP / LOOK / len(SCALES))
    for number in range(rounds):
        for replica in replicas:
            replica.step(LOOK)
        yield (number + 1) * len(SCALES) * LOOK * STEP, *angles(replicas[0], quads), 0.0
        for i in range(number % 2, len(SCALES) - 1, 2):
            tried, swapped = tried + 1, swapped + exchange(replicas[i], replicas[i + 1], rng)
    print(f"{swapped} of {tried} exchanges accepted")


def exchange(first: app.Simulation, second: app.Simulation, rng: np.random.Generator) -> bool:
    """Exchange positions and box of two replicas by the rule of Metropolis; fresh velocities where they did."""
    pair = (first, second)
    states = [one.context.getState(positions=True, velocities=True) for one in pair]
    own = sum(energy(one, state) for one, state in zip(pair, states, strict=True))
    crossed = sum(energy(one, state) for one, state in zip(pair, states[::-1], strict=True))
    accepted = bool(np.log(rng.random()) < own - crossed)
    for one, state in zip(pair, states[::-1] if accepted else states, strict=True):
        one.context.setPeriodicBoxVectors(*state.getPeriodicBoxVectors())
        one.context.setPositions(state.getPositions(asNumpy=True))
        if accepted:
            one.context.setVelocitiesToTemperature(300, int(rng.integers(1, 2**31)))
    return accepted


def metadynamics(arguments: argparse.Namespace) -> Iterator[Row]:
    """Rows of time (ps), phi, psi and ln weight."""
    topology, system, positions = molecule(WATERS)
    quads, variables = backbone_blocks(topology)[0].quads, []
    for quad in quads.tolist():
        force = openmm.CustomTorsionForce("theta")
        force.addTorsion(*quad, [])
        variables.append(app.BiasVariable(force, -np.pi, np.pi, WIDTH, periodic=True))
    meta = app.Metadynamics(system, variables, 300.0, biasFactor=FACTOR, height=HEIGHT, frequency=LOOK)
    simulation = start(topology, system, positions, arguments.seed)
    group = next(f.getForceGroup() for f in system.getForces() if isinstance(f, openmm.CustomCVForce))
    for number in range(round(parse_time(arguments.time) / STEP / LOOK)):
        meta.step(simulation, LOOK)
        bias = simulation.context.getState(energy=True, groups={group}).getPotentialEnergy()._value / KT
        free = -np.asarray(meta.getFreeEnergy()._value) / KT  # V * factor / (factor - 1)
        offset = np.log(np.exp(free).sum()) - np.log(np.exp(free / FACTOR).sum())
        yield (number + 1) * LOOK * STEP, *angles(simulation, quads), bias - offset


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("rest2", "metadynamics"))
    parser.add_argument("--out", default="run", help="stem of the file")
    parser.add_argument("--time", default="1ns", help="of force calls, of all replicas")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    kind = rest2 if given.kind == "rest2" else metadynamics
    with open(f"{given.out}.csv", "w", encoding="utf-8", buffering=1) as file:
        for row in kind(given):
            file.write(",".join(f"{value:.4f}" for value in row) + "\n")
