"""Figures of the engine adapters on this machine: cost, memory, temperature, constraints.

Run all of them, or name some:

    python examples/engines/figures.py --out engines.json
    python examples/engines/figures.py overhead energy --model my.pt

Every ratio is of calls made by turns in one run, in CPU time of the calling thread, so that other work on the machine
changes it little. The protocols and the results stand in docs/engines.md.
"""

import argparse
import copy
import gc
import json
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import psutil
import torch
from ase.io import read
from closed_form import torsion_surrogate
from openmm import app

from latentmd.integrators import LatentCalculator, LatentIntegrator, alternate
from latentmd.integrators.openmm_constraints import ConstraintProjector
from latentmd.model.file import save
from latentmd.model.propagator import Propagator
from latentmd.systems.builder import Molecule, build
from latentmd.units import GAS_CONSTANT

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
Array = np.ndarray[Any, np.dtype[np.float64]]


def closed_form(folder: Path) -> str:
    """A bundle of `TorsionSurrogate`, whose steps cost little."""
    propagator, molecule = Propagator("alanine-dipeptide"), build(PDB)
    fields = propagator.manifest.model_dump() | {"name": "closed-form", "half_precision": [], "slow_axes": 2}
    surrogate = torsion_surrogate(molecule.topology, np.asarray(molecule.positions._value))
    save(folder / "closed-form.pt", surrogate, fields)
    return str(folder / "closed-form.pt")


def simulation_of(molecule: Molecule, model: str, cycle: tuple[int, int] | None = None) -> tuple[Any, LatentIntegrator]:
    """A Simulation on the Reference platform of latent steps, alternating with MD where there is a cycle."""
    system = copy.deepcopy(molecule.system)
    latent = LatentIntegrator(molecule.protocol.temperature, model, system=system, topology=molecule.topology)
    integrator, reporters = latent, []
    if cycle:
        integrator, schedule = alternate(molecule.langevin(1), latent, cycle)
        reporters = [schedule]
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(molecule.topology, system, integrator, platform)
    simulation.reporters += reporters
    simulation.context.setPositions(molecule.positions)
    simulation.minimizeEnergy(maxIterations=100)
    simulation.context.setVelocitiesToTemperature(molecule.protocol.temperature, 1)
    return simulation, latent


def by_turns(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Array]:
    """CPU seconds of each call, [repeats], the calls made by turns after a warm-up."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 10):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            if repeat >= 10:
                spent[name].append(time.thread_time() - start)
    return {name: np.array(values) for name, values in spent.items()}


def overhead(model: str, repeats: int = 400) -> dict[str, float]:
    """An OpenMM step of LatentIntegrator against `Propagator.propose` for the same time, positions in and out."""
    molecule = build(PDB)
    simulation, latent = simulation_of(molecule, model)
    assert latent.provider is not None
    propagator, masses = latent.provider.propagator, latent.provider.projector.masses
    rng, lag = np.random.default_rng(0), propagator.lag_range[1]
    positions = [np.array(simulation.context.getState(positions=True).getPositions(asNumpy=True)._value)]

    def bare() -> None:
        positions[0] = propagator.propose(positions[0], lag, rng, masses)

    spent = by_turns({"bare": bare, "step": lambda: simulation.integrator.step(1)}, repeats)
    ratios = spent["step"] / spent["bare"] - 1
    return {
        "propagator_ms": 1e3 * float(np.median(spent["bare"])),
        "integrator_ms": 1e3 * float(np.median(spent["step"])),
        "overhead_percent": 100 * float(np.median(ratios)),
        "overhead_percent_standard_error": 100 * 1.25 * float(np.std(ratios) / len(ratios) ** 0.5),
    }


def energy(model: str, repeats: int = 40, batch: int = 1000) -> dict[str, float]:
    """An ASE single point, energy and forces, of one structure; and of 1,000 in a batch, per structure."""
    atoms = read(PDB)
    calculator = LatentCalculator(Propagator(model))
    atoms.calc = calculator
    rng = np.random.default_rng(0)
    start = atoms.get_positions()
    structures = [atoms.copy() for _ in range(batch)]
    for structure in structures:
        structure.positions += 0.02 * rng.standard_normal(start.shape)

    def single() -> None:
        atoms.positions = start + 0.02 * rng.standard_normal(start.shape)
        atoms.get_potential_energy()
        atoms.get_forces()

    spent = by_turns({"single": single, "batch": lambda: calculator.compute_batch(structures)}, repeats)
    one, many = float(np.median(spent["single"])), float(np.median(spent["batch"])) / batch
    return {"single_ms": 1e3 * one, "batch_us_per_structure": 1e6 * many, "times_faster": one / many}


def memory(model: str, steps: int = 100_000, contexts: int = 50) -> dict[str, float]:
    """Growth of the process over latent steps in one Context, and over Contexts made and destroyed."""
    molecule, process = build(PDB), psutil.Process()
    simulation, _ = simulation_of(molecule, model)
    simulation.integrator.step(1000)
    gc.collect()
    before = process.memory_info().rss
    simulation.integrator.step(steps)
    gc.collect()
    grown = process.memory_info().rss - before
    del simulation, _
    left, sizes = [], []
    for made in range(contexts + 5):
        simulation, latent = simulation_of(molecule, model)
        simulation.integrator.step(1)
        left.append(weakref.ref(latent.provider))
        del simulation, latent
        gc.collect()
        if made >= 4:  # the first ones fill caches
            sizes.append(process.memory_info().rss)
    return {
        "steps": steps,
        "growth_MB": grown / 1e6,
        "contexts": contexts,
        "providers_alive": sum(reference() is not None for reference in left),
        "growth_per_context_MB": (sizes[-1] - sizes[0]) / contexts / 1e6,
    }


def degrees_of_freedom(positions: Array, masses: Array, pairs: list[tuple[int, int]]) -> Array:
    """Degrees of freedom of each atom [N] under distance constraints and a centre of mass at rest.

    The diagonal of I - G^T (G G^T)^-1 G with the mass-weighted constraint gradients G, summed over x, y, z: the share
    of kT / 2 that the atom's kinetic energy has on average (equipartition on the constraint surface).
    """
    gradients = np.zeros((len(pairs) + 3, len(masses), 3))
    for row, (i, j) in enumerate(pairs):
        gradients[row, i] = positions[i] - positions[j]
        gradients[row, j] = -gradients[row, i]
    for axis in range(3):
        gradients[len(pairs) + axis, :, axis] = masses
    flat = (gradients / np.sqrt(masses)[:, None]).reshape(len(gradients), -1)
    taken = np.einsum("ck,ck->k", flat, np.linalg.solve(flat @ flat.T, flat))
    return np.asarray(3.0 - taken.reshape(-1, 3).sum(axis=1))


class Kinetics:
    """Kinetic temperatures, overall and per element, the centre of mass and the constraint residual of many frames."""

    def __init__(self, molecule: Molecule) -> None:
        system = molecule.system
        self.masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
        constraints = [system.getConstraintParameters(i) for i in range(system.getNumConstraints())]
        self.pairs = [(i, j) for i, j, _ in constraints]
        self.projector = ConstraintProjector(self.pairs, [length._value for _, _, length in constraints], self.masses)
        self.symbols = np.array([atom.element.symbol for atom in molecule.topology.atoms()])
        self.kinetic: list[Array] = []
        self.freedom: list[Array] = []
        self.centres: list[Array] = []
        self.residual = 0.0

    def add(self, context: openmm.Context, after_latent: bool = False) -> None:
        """Take a frame; with the constraint residual after a latent step."""
        state = context.getState(positions=True, velocities=True)
        x, v = state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value
        # What the last step's Langevin noise put on the constraints and the centre of mass, not yet removed.
        v = self.projector.project_velocities(x, v - self.masses @ v / self.masses.sum())
        self.kinetic.append(0.5 * self.masses * np.einsum("ai,ai->a", v, v))
        if len(self.kinetic) % 50 == 1:
            self.freedom.append(degrees_of_freedom(x, self.masses, self.pairs))
            self.centres.append(self.masses @ x / self.masses.sum())
        if after_latent:
            self.residual = max(self.residual, self.projector.residual(x))

    def temperatures(self) -> dict[str, tuple[float, float]]:
        """(T in K, standard error from 20 blocks) of all atoms and of each element."""
        kinetic, freedom = np.array(self.kinetic), np.mean(self.freedom, axis=0)
        chosen = {"all": np.ones(len(self.symbols), dtype=bool)}
        chosen |= {symbol: self.symbols == symbol for symbol in sorted(set(self.symbols))}
        found = {}
        for name, atoms in chosen.items():
            t = 2 * kinetic[:, atoms].sum(axis=1) / (GAS_CONSTANT * freedom[atoms].sum())
            blocks = [part.mean() for part in np.array_split(t, 20)]
            found[name] = (float(t.mean()), float(np.std(blocks, ddof=1) / len(blocks) ** 0.5))
        return found

    def drift(self) -> float:
        """Largest displacement of the centre of mass from where it was first, nm."""
        return float(np.linalg.norm(np.array(self.centres) - self.centres[0], axis=1).max())


def temperature(model: str, frames: int = 100_000, md_steps: int = 100, every: int = 1) -> dict[str, Any]:
    """Kinetic temperatures of an alternating run, a frame every `every` steps, beside as much plain MD."""
    molecule = build(PDB)
    alternating, plain = Kinetics(molecule), Kinetics(molecule)
    simulation, latent = simulation_of(molecule, model, (md_steps, 1))
    reference = molecule.context(molecule.langevin(2), "Reference")
    reference.setVelocitiesToTemperature(molecule.protocol.temperature, 2)
    reference.getIntegrator().step(2000)
    assert latent.provider is not None
    while len(alternating.kinetic) < frames:
        jumps = latent.provider.steps
        simulation.step(every)
        alternating.add(simulation.context, latent.provider.steps > jumps)
        reference.getIntegrator().step(every)
        plain.add(reference)
    return {
        "frames": frames,
        "every": every,
        "cycle": [md_steps, 1],
        "latent_steps": latent.provider.steps,
        "relaxations": simulation.reporters[0].relaxations,
        "target_K": molecule.protocol.temperature,
        "alternating_K": alternating.temperatures(),
        "plain_K": plain.temperatures(),
        "centre_of_mass_nm": alternating.drift(),
        "plain_centre_of_mass_nm": plain.drift(),
        "constraint_residual": alternating.residual,
    }


FIGURES = {"overhead": overhead, "energy": energy, "memory": memory, "temperature": temperature}


def main() -> None:
    """Measure what was named, print it and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", help=f"out of {', '.join(FIGURES)}; all where none is named")
    parser.add_argument("--model", default="alanine-dipeptide", help="name or path of a bundle, or closed-form")
    parser.add_argument("--frames", type=int, default=100_000, help="of the temperature")
    parser.add_argument("--steps", type=int, default=100_000, help="latent steps of the memory")
    parser.add_argument("--md-steps", type=int, default=100, help="MD steps of a cycle of the temperature")
    parser.add_argument("--every", type=int, default=1, help="steps between frames of the temperature")
    parser.add_argument("--out", type=Path, help="JSON file; nothing is written where it is not given")
    options = parser.parse_args()
    if unknown := set(options.figures) - set(FIGURES):
        parser.error(f"{', '.join(sorted(unknown))}: expected {', '.join(FIGURES)}")
    torch.set_num_threads(1)
    extra = {
        "memory": {"steps": options.steps},
        "temperature": {"frames": options.frames, "md_steps": options.md_steps, "every": options.every},
    }
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        model = closed_form(Path(folder)) if options.model == "closed-form" else options.model
        for name in options.figures or FIGURES:
            found[name] = FIGURES[name](model, **extra.get(name, {}))
            print(name, json.dumps(found[name], indent=2), flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
