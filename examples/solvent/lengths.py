"""Work of torsion jumps of alanine dipeptide in 500 TIP3P at 300 K, by length: from where it is to alpha-L and back.

    python examples/solvent/lengths.py --out work.csv --hours 1
    python examples/solvent/lengths.py --out work.csv --show
    python examples/solvent/lengths.py --overhead

Each trial follows 10 ps of MD from the one before, steers (phi, psi) to (60, 40) degrees, holds them there for 2 ps,
and steers them back. A line is appended with length (ps), stiffness (kJ/mol/rad2), and both works in kT. Half their
sum is what steering dissipates one way, whatever the free energies of both ends are. `--show` prints it by length,
with the acceptance of Gaussian work between equally populated ends, erfc(sqrt(W) / 2), and the free energy of the
restrained torsions by Bennett's acceptance ratio (J. Comput. Phys. 22, 245, 1976) from both works. `--overhead` times
1 ps of steering against 1 ps of plain MD, by processor time, by turns.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from scipy.optimize import brentq
from scipy.special import erfc, expit
from solvated import solvated

from latentmd.integrators import TorsionJumps
from latentmd.integrators.torsion_blocks import backbone_blocks
from latentmd.units import GAS_CONSTANT

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
KT = GAS_CONSTANT * 300.0
TARGET = np.deg2rad([60.0, 40.0])
SETTINGS = ((2.5, 300.0), (5.0, 300.0), (10.0, 300.0), (5.0, 100.0), (20.0, 300.0))
HELD, BETWEEN = 500, 2500  # steps


def start(waters: int, state: Path | None, seed: int) -> tuple[app.Simulation, TorsionJumps]:
    """A simulation of one thread, from a state that OpenMM saved or after 20 ps, and its jumps."""
    topology, system, positions = solvated(PDB, waters, 300.0)
    move = TorsionJumps(system, backbone_blocks(topology), seed=seed)
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.004)
    integrator.setRandomNumberSeed(seed)
    platform = openmm.Platform.getPlatformByName("CPU")
    simulation = app.Simulation(topology, system, integrator, platform, {"Threads": "1"})
    if state is None:
        simulation.context.setPositions(positions)
        simulation.minimizeEnergy()
        simulation.context.setVelocitiesToTemperature(300, seed)
        simulation.step(5000)
        return simulation, move
    kept = openmm.XmlSerializer.deserialize(state.read_text())
    simulation.context.setPeriodicBoxVectors(*kept.getPeriodicBoxVectors())
    simulation.context.setPositions(kept.getPositions())
    simulation.context.setVelocities(kept.getVelocities())
    return simulation, move


def there_and_back(simulation: app.Simulation, move: TorsionJumps, rng: np.random.Generator) -> tuple[float, float]:
    """Works in kT; positions and velocities are put back."""
    context, (block,) = simulation.context, move.blocks
    before = context.getState(positions=True, velocities=True, parameters=True)
    angles = _angles(simulation, move)
    centre = angles + rng.vonmises(0.0, move.stiffness / KT, len(angles))
    turn = (TARGET - centre + np.pi) % (2 * np.pi) - np.pi
    there = move._steer(context, block, centre, turn)
    context.setParameter("latentmd_jump_stiffness", move.stiffness)  # where it has arrived
    simulation.step(HELD)
    back = move._steer(context, block, centre + turn, -turn)
    context.setState(before)
    return there / KT, back / KT


def _angles(simulation: app.Simulation, move: TorsionJumps) -> np.ndarray:
    from latentmd.molecule.checks import torsions

    positions = simulation.context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    return np.asarray(torsions(positions[None], move.blocks[0].quads)[0])


def measure(arguments: argparse.Namespace) -> None:
    """Append trials until the time is over."""
    simulation, move = start(arguments.waters, arguments.state, arguments.seed)
    rng, end, number = np.random.default_rng(arguments.seed), time.monotonic() + 3600 * arguments.hours, 0
    while time.monotonic() < end:
        simulation.step(BETWEEN)
        if 0 < _angles(simulation, move)[0] < np.deg2rad(150):
            continue  # it is there by itself
        move.length, move.stiffness = SETTINGS[number % len(SETTINGS)]
        works = there_and_back(simulation, move, rng)
        with open(arguments.out, "a", encoding="utf-8") as file:
            file.write(f"{move.length:g},{move.stiffness:g},{works[0]:.3f},{works[1]:.3f}\n")
        number += 1


def overhead(arguments: argparse.Namespace, turns: int = 20) -> None:
    """Print what a step of steering costs over a step of MD: the median of turns, and their quartiles."""
    simulation, move = start(arguments.waters, arguments.state, arguments.seed)
    ratios, (block,) = [], move.blocks
    move.length = 1.0
    for _ in range(turns):
        angles, begin = _angles(simulation, move), time.process_time()
        simulation.step(250)
        middle = time.process_time()
        move._steer(simulation.context, block, angles, np.deg2rad([10.0, 10.0]))
        ratios.append((time.process_time() - middle) / (middle - begin))
    low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75]) - 1
    print(f"overhead of steering: {100 * median:.1f} % ({100 * low:.1f} to {100 * high:.1f})")


def bennett(there: np.ndarray, back: np.ndarray) -> float:
    """Free energy in kT from works in kT of as many ways there as back."""
    grid = np.concatenate([there, -back])
    return float(brentq(lambda f: expit(f - there).sum() - expit(-f - back).sum(), grid.min() - 9, grid.max() + 9))


def show(path: Path) -> None:
    """Print a table of the trials."""
    table = np.loadtxt(path, delimiter=",", ndmin=2)
    rng = np.random.default_rng(0)
    print("length, ps  stiffness  trials  there, kT      dissipated, kT  acceptance  free energy (Bennett), kT")
    for length, stiffness in sorted({(row[0], row[1]) for row in table}):
        there, back = table[(table[:, 0] == length) & (table[:, 1] == stiffness), 2:].T
        lost = (there + back) / 2
        draws = [bennett(there[rows], back[rows]) for rows in rng.integers(len(there), size=(200, len(there)))]
        mean, error = lost.mean(), lost.std(ddof=1) / np.sqrt(len(lost)) if len(lost) > 1 else np.nan
        print(
            f"{length:10g}  {stiffness:9g}  {len(there):6}  {there.mean():5.1f} ± {there.std():4.1f}   "
            f"{mean:5.1f} ± {error:4.1f}    {erfc(np.sqrt(max(mean, 0)) / 2):10.3f}  "
            f"{bennett(there, back):5.1f} ± {np.std(draws):.1f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("work.csv"), help="CSV file of the trials")
    parser.add_argument("--hours", type=float, default=1.0, help="wall time")
    parser.add_argument("--waters", type=int, default=500)
    parser.add_argument("--state", type=Path, help="equilibrated state that OpenMM saved as XML")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="print what is there")
    parser.add_argument("--overhead", action="store_true", help="time steering against plain MD")
    given = parser.parse_args()
    if given.overhead:
        overhead(given)
    elif given.show:
        show(given.out)
    else:
        measure(given)
