"""Time to the free energy of a rarely visited basin: hybrid sampling beside adaptive sampling and plain MD.

    python examples/hybrid/benefit.py hybrid --seconds 300 --seed 1 --out benefit
    python examples/hybrid/benefit.py no-surrogate --seconds 300 --seed 1 --out benefit
    python examples/hybrid/benefit.py bad --seconds 300 --seed 1 --out benefit       # a surrogate of 50 updates a stage
    python examples/hybrid/benefit.py adaptive --seconds 300 --seed 1 --out benefit  # one start, least-visited cells
    python examples/hybrid/benefit.py hot --seconds 300 --seed 1 --out benefit       # hot starts, least-visited cells
    python examples/hybrid/benefit.py md --seconds 300 --seed 1 --out benefit
    python examples/hybrid/benefit.py show --reference reference.json --out benefit

Alanine dipeptide, ff14SB + OBC2, 300 K, basin 0 < phi < 125 degrees, everything on one core and everything counted:
search for basins, training, proposals, bursts, statistics. Times are CPU seconds of the one process, which is its wall
time on an idle core; set OMP_NUM_THREADS=1. The wall time that passed is recorded too. `show` prints the free energy of
the basin against time and the time from which it stays within 0.5 kcal/mol of the reference (reference.py).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from latentmd.sampling.hybrid.convergence import Criteria
from latentmd.sampling.levels import hybrid
from latentmd.sampling.request import HybridSettings
from latentmd.units import KILOCALORIE, thermal_energy

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
TEMPERATURE = 300.0
KT = thermal_energy(TEMPERATURE) / KILOCALORIE  # kcal/mol
VARIANTS = {
    "hybrid": HybridSettings(),
    "adaptive": HybridSettings(surrogate=False, hot=False, precise=0.0),
    "hot": HybridSettings(surrogate=False, precise=0.0),
    "no-surrogate": HybridSettings(surrogate=False),
    "bad": HybridSettings(effort=0.0),
    "pretrained": HybridSettings(),
}


def phi_of(positions: np.ndarray) -> np.ndarray:
    """Phi in radians of frames (frames, 22, 3)."""
    from latentmd.molecule.checks import torsions

    return torsions(np.asarray(positions, dtype=np.float64), np.array([[4, 6, 8, 10]]))[:, 0]


def in_basin(phi: np.ndarray) -> np.ndarray:
    return (phi > 0) & (phi < np.deg2rad(125.0))


def free_energy(weight: float) -> float | None:
    """Of the basin against everything else, kcal/mol; None where it was not, or only it was, visited."""
    return float(-KT * np.log(weight / (1 - weight))) if 0 < weight < 1 else None


class OverError(Exception):
    """The time is over."""


def sample(name: str, seconds: float, seed: int, out: Path) -> None:
    """A hybrid or adaptive run; a line of the curve after each round with a new review."""
    curve: list[dict[str, float | None]] = []
    folder, began, phi = out / f"{name}-{seed}", time.monotonic(), {}
    model = "alanine-dipeptide" if name == "pretrained" else None

    def watch(progress: object, spent: float, limit: float) -> None:
        path = folder / "run" / "weights.npz"
        with np.load(path) as weights:
            rounds, tasks, values, sets = (weights[name] for name in ("round", "task", "weight", "state"))
        inside = []
        for number, task in dict.fromkeys(zip(rounds.tolist(), tasks.tolist(), strict=True)):
            if (number, task) not in phi:
                with np.load(folder / "run" / "rounds" / f"{number:04d}" / f"burst-{task:04d}.npz") as burst:
                    phi[number, task] = in_basin(phi_of(burst["positions"]))
            inside.append(phi[number, task])
        basin, review = np.concatenate(inside), progress.review
        population = float(values[basin].sum())
        # The set of cells that has most of the basin's weight in it, and its standard error.
        share = [float(values[basin & (sets == i)].sum()) for i in range(len(review.estimates.states))]
        error = KT * review.estimates.logits[int(np.argmax(share))].deviation
        now = {"seconds": time.process_time(), "wall": time.monotonic() - began}
        whole = review.estimates.connected >= Criteria().connected  # or else the basin may be one of the parts left out
        value = free_energy(population) if whole else None
        line = {**now, "ns": progress.simulated / 1000, "kcal": value, "error": error}
        line["missing"] = len(review.missing)
        curve.append(line)
        (out / f"{name}-{seed}.json").write_text(json.dumps(curve, indent=1), encoding="utf-8")
        print(name, {key: value if value is None else round(value, 2) for key, value in line.items()}, flush=True)
        if line["seconds"] > seconds:
            raise OverError

    try:
        hybrid(
            PDB, out=folder, model=model, time="10us", temperature=TEMPERATURE, seed=seed, processes=1,
            settings=VARIANTS[name], overwrite=True, watch=watch,
        )  # fmt: skip
    except OverError:
        pass


def plain_md(seconds: float, seed: int, out: Path) -> None:
    """Plain MD until the time is over."""
    from latentmd.systems.builder import Protocol, build
    from latentmd.systems.dynamics import run_md

    inside, frames, curve = 0, 0, []
    molecule = build(PDB, Protocol(temperature=TEMPERATURE))
    for block in run_md(molecule, 10**9, 1.0, seed=seed, platform="Reference", chunk=500):
        inside, frames = inside + int(in_basin(phi_of(block.positions)).sum()), frames + len(block.positions)
        curve.append({"seconds": time.process_time(), "ns": frames / 1000, "kcal": free_energy(inside / frames)})
        (out / f"md-{seed}.json").write_text(json.dumps(curve, indent=1), encoding="utf-8")
        if curve[-1]["seconds"] > seconds:
            return


def show(reference: Path, out: Path) -> None:
    """Curves and the time from which each stays within 0.5 kcal/mol."""
    truth = json.loads(reference.read_text(encoding="utf-8"))["kcal_per_mol"]
    print(f"reference {truth:.2f} kcal/mol")
    for path in sorted(out.glob("*-*.json")):
        curve = json.loads(path.read_text(encoding="utf-8"))
        good = [line["kcal"] is not None and abs(line["kcal"] - truth) <= 0.5 for line in curve]
        last_bad = max((i for i, fine in enumerate(good) if not fine), default=-1)
        reached = f"{curve[last_bad + 1]['seconds']:.0f} s" if good and good[-1] else "not reached"
        end = f"{curve[-1]['seconds']:.0f} s, {curve[-1]['ns']:.1f} ns"
        print(f"{path.stem}: within 0.5 kcal/mol from {reached}, of {end}")
        for line in curve[:: max(1, len(curve) // 10)]:
            value = "-" if line["kcal"] is None else f"{line['kcal']:.2f}"
            error = f"+- {line['error']:.2f}" if "error" in line and line["kcal"] is not None else ""
            print(f"    {line['seconds']:7.0f} s {line['ns']:7.2f} ns {value:>6} {error}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*VARIANTS, "md", "show"])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benefit"))
    parser.add_argument("--reference", type=Path, default=Path("reference.json"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.what == "show":
        show(options.reference, options.out)
    elif options.what == "md":
        plain_md(options.seconds, options.seed, options.out)
    else:
        sample(options.what, options.seconds, options.seed, options.out)
