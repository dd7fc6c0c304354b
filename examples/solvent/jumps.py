"""Alanine dipeptide in 500 waters at 300 K: how often phi turns, per ns of force calls, with torsion jumps and without.

    python examples/solvent/jumps.py plain --out plain --time 1ns
    python examples/solvent/jumps.py jumps --out jumps --time 1ns
    python examples/solvent/jumps.py plain --bias 2 --table chains --out bias --time 1ns
    python examples/solvent/jumps.py compare plain jumps bias

TIP3P and ff14SB, hydrogens of 3 amu, steps of 4 fs, 1 bar. A run appends phi and psi to OUT.csv every 0.2 ps of MD and
goes on where it was; time counts every step of the integrator, steering too. `--bias` adds the static bias of
`TorsionBias` on phi and psi, from exact chains; the logarithm of a frame's weight is the fourth column. `compare`
prints JSON: crossings between the wells of phi (below 0, and 0 to 150 degrees, each entered at its middle), per ns, and
the population of phi > 0 and its free energy with standard errors from 20 blocks of time.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from openmm import app, unit
from scipy.special import logit
from solvated import solvated

from latentmd.integrators import JumpReport, TorsionJumps
from latentmd.integrators.torsion_bias import TorsionBias
from latentmd.integrators.torsion_blocks import TorsionBlock, TorsionTable, backbone_blocks
from latentmd.molecule.checks import torsions
from latentmd.sampling.jumps.results import weighted_populations
from latentmd.sampling.metropolis.wells import Turn, Well
from latentmd.systems.builder import Protocol, build
from latentmd.units import parse_time

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
STEP, LOOK = 0.004, 50  # ps; steps between looks
MIDDLE = np.deg2rad([-100.0, 60.0])  # of the wells of phi
NEAR = np.deg2rad(30.0)


def molecule(waters: int) -> tuple[app.Topology, openmm.System, unit.Quantity]:
    """The molecule in a box of water, with a barostat; in OBC2 without waters."""
    if waters:
        return solvated(PDB, waters, 300.0, cutoff=0.8)
    dry = build(PDB, Protocol(temperature=300.0))
    return dry.topology, dry.system, dry.positions


def start(topology: app.Topology, system: openmm.System, positions: unit.Quantity, seed: int) -> app.Simulation:
    """A simulation of one thread after 10 ps."""
    integrator = openmm.LangevinMiddleIntegrator(300, 1, STEP)
    integrator.setRandomNumberSeed(seed)
    name = "CPU" if system.usesPeriodicBoundaryConditions() else "Reference"  # the faster one of a few atoms
    properties = {"Threads": "1"} if name == "CPU" else {}
    platform = openmm.Platform.getPlatformByName(name)
    simulation = app.Simulation(topology, system, integrator, platform, properties)
    simulation.context.setPositions(positions)
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(300, seed)
    simulation.step(2500)
    return simulation


def run(arguments: argparse.Namespace) -> None:
    """Sample until the time is used up, resuming what is there."""
    topology, system, positions = molecule(arguments.waters)
    block = backbone_blocks(topology)[0]
    if arguments.table:
        # jumps that turn phi by 100 degrees or more, whatever psi does: MD turns psi by itself
        table = TorsionTable.from_samples(chain_torsions(arguments.table), least=(10, 18), power=arguments.power)
        block = TorsionBlock(block.name, block.quads, table)
    bias = None
    if arguments.bias is not None:
        biased = slice(1) if arguments.alone else slice(2)
        density = TorsionTable.from_samples(chain_torsions(arguments.table)[:, biased], power=1.0, smooth=1.0)
        bias = TorsionBias(system, [TorsionBlock("biased", block.quads[biased], density)], 300.0, above=arguments.bias)
    out = arguments.out
    kept = Path(f"{out}.json")
    move = TorsionJumps(system, [block], length=arguments.length, every=arguments.every, seed=arguments.seed)
    simulation = start(topology, system, positions, arguments.seed)
    move.report_jump = JumpReport(f"{out}.jumps.csv", append=kept.exists()) if arguments.kind == "jumps" else None
    if kept.exists():
        simulation.loadCheckpoint(f"{out}.chk")
        move.set_state(kept.read_text())
    elif arguments.kind == "jumps" and arguments.tune:
        print("length {:.1f} ps, mean acceptance {:.2f}".format(*move.tune(simulation)), flush=True)
    simulation.context.setStepCount(simulation.currentStep if kept.exists() else 0)
    move.steps = move.steps if kept.exists() else 0
    end = parse_time(arguments.time) / STEP
    rows: list[tuple[float, float, float, float]] = []
    while simulation.currentStep + move.steps < end:
        for _ in range(move.every // LOOK):
            simulation.step(LOOK)
            state = simulation.context.getState(positions=True)
            phi, psi = torsions(state.getPositions(asNumpy=True)._value[None], block.quads)[0]
            weight = 0.0 if bias is None else bias.log_weight(simulation.context)
            rows.append(((simulation.currentStep + move.steps) * STEP, phi, psi, weight))
        if arguments.kind == "jumps":
            move.jump(simulation)
        if len(rows) >= 100:
            with open(f"{out}.csv", "a", encoding="utf-8") as file:
                file.writelines(",".join(f"{value:.4f}" for value in row) + "\n" for row in rows)
            rows = []
            simulation.saveCheckpoint(f"{out}.chk")
            kept.write_text(move.state())
    print(move)


def crossings(phi: np.ndarray) -> int:
    """Changes of the well of phi that was entered last."""
    away = np.abs((phi[:, None] - MIDDLE + np.pi) % (2 * np.pi) - np.pi)
    entered = np.where(away[:, 0] < NEAR, 0, np.where(away[:, 1] < NEAR, 1, -1))
    entered = entered[entered >= 0]
    return int((np.diff(entered) != 0).sum())


def compare(outs: list[str], chains: Path | None) -> None:
    """Print crossings per ns and populations of each run, and how many are within two errors of exact chains."""
    results: dict[str, object] = {}
    exact, deviations, apart = chain_population(chains) if chains else (0.0, 0.0), [], []
    for out in outs:
        time, phi, _, log_weight = np.loadtxt(f"{out}.csv", delimiter=",").T
        ns, counted = time[-1] / 1000, crossings(phi)
        population, error, ratio = right_population(phi, np.exp(log_weight))
        weights = np.exp(log_weight)
        results[out] = {
            "ns of force calls": round(ns, 3),
            "crossings of phi": counted,
            "crossings per ns": round(counted / ns, 2),
            "population of phi > 0": round(population, 4),
            "standard error": round(error, 4),
            "standard error of dG, kT": round(ratio, 3),
            "evenness of weights": round(float(weights.sum() ** 2 / (weights**2).sum() / len(weights)), 3),
        }
        deviations.append(float(abs(population - exact[0]) / np.hypot(error, exact[1])) if error else np.inf)
        by_passages = page_error(phi, weights)
        results[out] |= {"standard error of dG by passages, kT": round(by_passages, 3)}
        if chains:
            distance = abs(logit(population) - logit(exact[0]))
            apart.append(distance / np.hypot(by_passages, exact[1] / (exact[0] * (1 - exact[0]))))
        if Path(f"{out}.jumps.csv").exists():
            state = json.loads(Path(f"{out}.json").read_text())
            tried, accepted = (sum(state[name].values()) for name in ("tried", "accepted"))
            results[out] |= {"jumps": tried, "accepted": accepted, "length, ps": state["length"]}
    if chains:
        near = sum(deviation < 2 for deviation in deviations)
        results["exact chains"] = {"population of phi > 0": exact, "within two errors": f"{near} of {len(outs)}"}
        results["exact chains"] |= {"dG within two errors by passages": f"{sum(x < 2 for x in apart)} of {len(outs)}"}
    print(json.dumps(results, indent=1))


def right_population(phi: np.ndarray, weights: np.ndarray, blocks: int = 20) -> tuple[float, float, float]:
    """Population of phi > 0, its standard error, and that of its free energy in kT, by resampling blocks of time."""
    right = (phi > 0) & (phi < np.deg2rad(150))
    sums = [(part[inside].sum(), part.sum()) for part, inside in _parts(weights, right, blocks)]
    inside, whole = np.array(sums).T
    drawn = np.random.default_rng(0).integers(blocks, size=(1000, blocks))
    shares = inside[drawn].sum(axis=1) / whole[drawn].sum(axis=1)
    with np.errstate(divide="ignore"):
        free = -np.log(shares / (1 - shares))
    error = float(np.std(free)) if (shares > 0).all() else np.inf
    return float(inside.sum() / whole.sum()), float(shares.std()), error


def page_error(phi: np.ndarray, weights: np.ndarray) -> float:
    """Standard error in kT of the free energy of phi > 0 as `simulate` has it, from a frame for each ps."""
    well, alike = Well("phi > 0", Turn("phi", 0), 0.0, 150.0), weights[::5] / weights[::5].mean()
    found = weighted_populations(phi[::5, None], (well,), alike)
    share, error = float(found.values[0]), float(found.errors[0])
    return error / (share * (1 - share)) if 0 < share < 1 else np.inf


def _parts(weights: np.ndarray, right: np.ndarray, blocks: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(np.array_split(weights, blocks), np.array_split(right, blocks), strict=True))


def chain_torsions(folder: Path) -> np.ndarray:
    """Phi and psi of exact chains in radians, shape (frames, 2)."""
    chains = mdtraj.load(str(folder / "metropolised.xtc"), top=str(folder / "topology.pdb"))
    return np.hstack([mdtraj.compute_phi(chains)[1], mdtraj.compute_psi(chains)[1]])


def chain_population(folder: Path) -> tuple[float, float]:
    """Population of phi > 0 in exact chains and its standard error, of the mean over the chains."""
    frames = mdtraj.load(str(folder / "metropolised.xtc"), top=str(folder / "topology.pdb"))
    phi, chain = mdtraj.compute_phi(frames)[1][:, 0], np.load(folder / "metropolised.npz")["chain"]
    right = (phi > 0) & (phi < np.deg2rad(150))
    means = np.array([right[chain == number].mean() for number in np.unique(chain)])
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("plain", "jumps", "compare"))
    parser.add_argument("runs", nargs="*", help="of compare: what was given as --out")
    parser.add_argument("--out", default="run", help="stem of the files")
    parser.add_argument("--time", default="1ns", help="of force calls, steering included")
    parser.add_argument("--length", type=float, default=5.0, help="of steering, ps")
    parser.add_argument("--every", type=int, default=250, help="steps of MD between jumps")
    parser.add_argument("--tune", action="store_true", help="find the length first")
    parser.add_argument("--table", type=Path, help="folder of exact chains, which propose phi and psi")
    parser.add_argument("--bias", type=float, help="free energy in kT above which the static bias acts")
    parser.add_argument("--alone", action="store_true", help="bias phi alone, not phi and psi in their plane")
    parser.add_argument("--power", type=float, default=0.5, help="of the density of the chains that proposes jumps")
    parser.add_argument("--waters", type=int, default=500, help="0 for implicit solvent, OBC2")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    compare(given.runs, given.table) if given.kind == "compare" else run(given)
