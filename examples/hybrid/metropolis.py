"""Exact sampling of two small landscapes, tested against quadrature by Kolmogorov-Smirnov at 1e5 Metropolis steps.

    python examples/hybrid/metropolis.py --seeds 20 --out metropolis.json

Proposals come from a mixture of Gaussians in full coordinates, fitted to unbiased bursts whose weights are wrong (as
many from each basin), and judged by their own density; a mixture fitted to a single basin, made broad, is tried too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import kstest
from vector_metropolis import fit_mixture, independent_rows, metropolise

from latentmd.worlds.landscapes import Landscape, ToyEngine, double_well, muller_brown

LANDSCAPES = {"double well": double_well(), "Müller-Brown": muller_brown()}
FEWEST = 50  # independent rows that a test means something with


def p_value(landscape: Landscape, rows: np.ndarray) -> float:
    """Smallest p-value of the marginals, times their number (Bonferroni)."""
    mesh, weights = landscape.grid(4000 if len(landscape.low) == 1 else 300)
    found = []
    for axis in range(mesh.shape[1]):
        values, order = np.unique(mesh[:, axis], return_inverse=True)
        cdf = np.cumsum(np.bincount(order.ravel(), weights=weights))
        edges = values + (values[1] - values[0]) / 2
        found.append(kstest(rows[:, axis], lambda v, e=edges, c=cdf: np.interp(v, e, c)).pvalue)
    return float(min(1.0, len(found) * min(found)))


def trial(landscape: Landscape, basins: int, seed: int) -> dict[str, float]:
    """One run of 20 chains and 5000 steps each."""
    rng = np.random.default_rng(seed)
    engine = ToyEngine(landscape, 20)
    starts = np.array(landscape.starts)[:basins]
    bursts = [engine.burst(start, 200, 100 * seed + i).positions for i, start in enumerate(starts)]
    broad, widen = (0.1, 2.0) if basins == 2 else (0.5, 8.0)
    move = fit_mixture(np.concatenate(bursts), 3 * basins, rng, broad, widen)
    start = np.concatenate([burst[-(20 // basins) :] for burst in bursts])
    chains = metropolise(lambda x: -landscape.energies(x), [move], start, 5000, rng)
    rows = independent_rows(chains, list(landscape.states.values()))
    return {
        "acceptance": chains.acceptance[0],
        "independent": len(rows),
        "p": p_value(landscape, rows) if len(rows) else 1.0,
    }


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seeds", type=int, default=20)
parser.add_argument("--landscape", choices=[*LANDSCAPES], nargs="+", default=[*LANDSCAPES])
parser.add_argument("--out", type=Path, required=True)
options = parser.parse_args()
results = {}
for name in options.landscape:
    world = LANDSCAPES[name]
    for known in (2, 1):
        runs = [trial(world, known, seed) for seed in range(options.seeds)]
        results[f"{name}, {known} basins known"] = runs
        tested = [run for run in runs if run["independent"] >= FEWEST]
        passed = sum(run["p"] > 0.05 for run in tested)
        print(f"{name}, {known} basins known: {passed} of {len(tested)} with p > 0.05 and {FEWEST} rows or more, "
              f"acceptance {np.mean([run['acceptance'] for run in runs]):.2f}")  # fmt: skip
options.out.write_text(json.dumps(results, indent=1) + "\n")
