"""Equilibrium of the engine beside OpenMM: `python statistics.py [PDB] [--frames 100000]`.

32 independent walkers each, Langevin dynamics under the default protocol, a frame every 0.2 ps after 100 ps of
equilibration. Errors are standard errors over walkers, so that slow torsions count as few samples. Every bond, angle
and proper torsion is compared in 24 bins by the mean over walkers of its histogram; the table shows how many bins
differ by more than 2 and 3 standard errors, beside what chance gives.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import openmm
from scipy import stats

from latentmd.arrays import Doubles
from latentmd.replicas.engine import ReplicaEngine
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled
from latentmd.units import GAS_CONSTANT

WALKERS, BINS, EVERY, EQUILIBRATION = 32, 24, 50, 25_000  # the last two in steps
Sample = tuple[Doubles, Doubles, Doubles]  # positions (walkers, frames, atoms, 3), potential and kinetic energies


def engine_sample(molecule: Any, frames: int, seed: int) -> Sample:
    """Run all walkers together."""
    protocol = molecule.protocol
    scheme = {"timestep": protocol.timestep, "friction": protocol.friction}
    start = np.repeat(np.asarray(molecule.positions._value)[None], WALKERS, axis=0)
    engine = ReplicaEngine(molecule.system, start, temperature=protocol.temperature, seed=seed, threads=1)
    engine.minimize(300)
    engine.draw_velocities()
    engine.langevin(EQUILIBRATION, **scheme)
    rows = []
    for _ in range(frames):
        engine.langevin(EVERY, **scheme)
        rows.append((engine.positions, engine.energies(), engine.kinetic_energies()))
    return tuple(np.moveaxis(np.array(part), 0, 1) for part in zip(*rows, strict=True))  # type: ignore[return-value]


def openmm_sample(molecule: Any, frames: int, seed: int) -> Sample:
    """Run walkers one after another on the Reference platform."""
    rows = []
    for walker in range(WALKERS * seed, WALKERS * (seed + 1)):
        context = molecule.context(molecule.langevin(walker + 1), "Reference")
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=300)
        context.setVelocitiesToTemperature(molecule.protocol.temperature, walker + 1)
        context.getIntegrator().step(EQUILIBRATION)
        for _ in range(frames):
            context.getIntegrator().step(EVERY)
            state = context.getState(positions=True, velocities=True, energy=True)
            velocities = state.getVelocities(asNumpy=True)._value
            kinetic = 0.5 * np.sum(masses(molecule)[:, None] * velocities**2)
            rows.append((state.getPositions(asNumpy=True)._value, state.getPotentialEnergy()._value, kinetic))
    parts = [np.array(part) for part in zip(*rows, strict=True)]
    return tuple(part.reshape(WALKERS, frames, *part.shape[1:]) for part in parts)  # type: ignore[return-value]


def masses(molecule: Any) -> Doubles:
    """Masses in amu, shape (atoms,)."""
    return np.array([molecule.system.getParticleMass(i)._value for i in range(molecule.system.getNumParticles())])


def coordinates(molecule: Any, x: Doubles) -> dict[str, tuple[Any, Doubles]]:
    """Atoms and values, shape (walkers, frames, count), of bonds that are not constrained, angles, proper torsions."""
    import networkx

    graph = networkx.Graph((a.index, b.index) for a, b in molecule.topology.bonds())
    system = molecule.system
    fixed = {frozenset(system.getConstraintParameters(i)[:2]) for i in range(system.getNumConstraints())}
    bonds = [pair for pair in graph.edges if frozenset(pair) not in fixed]
    angles = [(a, b, c) for b in graph for a in graph[b] for c in graph[b] if a < c]
    quads = [(a, b, c, d) for b, c in graph.edges for a in graph[b] if a != c for d in graph[c] if d not in (a, b)]
    shape = x.shape[:2]
    flat = x.reshape(-1, *x.shape[2:])
    lengths = np.array([np.linalg.norm(flat[:, a] - flat[:, b], axis=1) for a, b in bonds]).T
    return {
        "bonds": (bonds, lengths.reshape(*shape, -1)),
        "angles": (angles, _by_mdtraj(molecule, flat, np.array(angles)).reshape(*shape, -1)),
        "torsions": (quads, _by_mdtraj(molecule, flat, np.array(quads)).reshape(*shape, -1)),
    }


def compare(name: str, one: Doubles, other: Doubles, labels: list[str]) -> None:
    """Print the z statistics of histograms of one kind of coordinate, (walkers, frames, count)."""
    scores = []
    for k in range(one.shape[2]):
        both = np.concatenate([one[..., k].ravel(), other[..., k].ravel()])
        edges = np.unique(np.quantile(both, np.linspace(0, 1, BINS + 1)))
        edges[[0, -1]] = -np.inf, np.inf
        found = [np.array([np.histogram(w, edges)[0] / len(w) for w in side[..., k]]) for side in (one, other)]
        means = [f.mean(0) for f in found]
        variance = sum(f.var(0, ddof=1) / len(f) for f in found)
        scores += ((means[0] - means[1]) / np.sqrt(np.maximum(variance, 1e-30))).tolist()
    z = np.abs(scores)
    chance = [2 * stats.t.sf(level, 2 * (WALKERS - 1)) for level in (2, 3)]
    print(
        f"{name:10} {one.shape[2]:5} {len(z):6} {100 * np.mean(z > 2):8.1f} {100 * chance[0]:7.1f} "
        f"{100 * np.mean(z > 3):9.2f} {100 * chance[1]:7.2f} {z.max():9.2f} {labels[int(z.argmax()) // BINS]}"
    )


def show(name: str, one: Doubles, other: Doubles) -> None:
    """Print a mean over walkers and frames of both sides, with standard errors, and their difference over its own."""
    means, errors = zip(*((s.mean(), s.mean(1).std(ddof=1) / len(s) ** 0.5) for s in (one, other)), strict=True)
    z = (means[0] - means[1]) / np.hypot(*errors)
    print(f"{name:24} {means[0]:10.3f} ± {errors[0]:.3f} {means[1]:10.3f} ± {errors[1]:.3f} {z:7.2f}", flush=True)


def _by_mdtraj(molecule: Any, x: Doubles, atoms: Any) -> Doubles:
    trajectory = mdtraj.Trajectory(x.astype(np.float32), mdtraj.Topology.from_openmm(molecule.topology))
    if atoms.shape[1] == 3:
        return np.asarray(mdtraj.compute_angles(trajectory, atoms, periodic=False))
    return np.asarray(mdtraj.compute_dihedrals(trajectory, atoms, periodic=False))


def main() -> None:
    """Sample with both and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pdb", nargs="?", type=Path, default=bundled("alanine_dipeptide"))
    parser.add_argument("--frames", type=int, default=100_000, help="Of all walkers together.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    molecule, frames = build(options.pdb), -(-options.frames // WALKERS)
    one, other = engine_sample(molecule, frames, options.seed), openmm_sample(molecule, frames, options.seed)
    print(f"{WALKERS} walkers of {frames} frames each, every {EVERY} steps, {molecule.protocol.temperature:g} K")
    print(f"{'':24} {'engine':>18} {'OpenMM Reference':>18} {'z':>7}")
    freedom = 3 * len(masses(molecule)) - molecule.system.getNumConstraints() - 3
    scale = 2 / (freedom * GAS_CONSTANT)
    show("kinetic temperature, K", one[2] * scale, other[2] * scale)
    show("potential, kJ/mol", one[1], other[1])
    atoms = [f"{a.residue.index + 1}{a.name}" for a in molecule.topology.atoms()]
    print("kind       count   bins  > 2, %  chance   > 3, %  chance   largest  of")
    sides = coordinates(molecule, one[0]), coordinates(molecule, other[0])
    for kind, (which, values) in sides[0].items():
        compare(kind, values, sides[1][kind][1], ["-".join(atoms[i] for i in some) for some in which])


if __name__ == "__main__":
    main()
