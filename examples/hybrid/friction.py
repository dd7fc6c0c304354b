"""Why bursts have a friction of 10/ps: short bursts from fresh velocities on a barrier like that of a torsion.

    python examples/hybrid/friction.py --repeats 6

One torsion with the thermal velocity of the phi of alanine dipeptide, 220 degrees/ps, and a barrier of 13 kT between
basins that differ by 3.7 kT. Bursts of 1 ps start all along it, 150 for every 5 degrees, with velocities of the
Maxwell-Boltzmann distribution; the reversible Markov model of their transitions gives the difference, which is known
exactly. At a friction of 1/ps frames on the way down from the barrier still have the velocity of the fall, which counts
as if half of them could go up again.
"""

from __future__ import annotations

import argparse

import numpy as np

from latentmd.sampling.hybrid.reweighting import count_transitions, fit

VELOCITY, HEIGHT, HALF_WIDTH, CENTRE, TILT = 220.0, 11.0, 65.0, -5.0, 3.8 / 130  # deg/ps, kT, deg, deg, kT/deg
TIMESTEP, EVERY, FRAMES, PER_LAYER = 0.002, 10, 50, 150
EDGES = np.arange(-72.5, 65, 5.0)


def potential(x: np.ndarray) -> np.ndarray:
    """A tilted double well in kT of angles in degrees."""
    return HEIGHT * (1 - ((x - CENTRE) / HALF_WIDTH) ** 2) ** 2 + TILT * x


def slope(x: np.ndarray) -> np.ndarray:
    """Derivative of the potential, kT per degree."""
    return -4 * HEIGHT * (1 - ((x - CENTRE) / HALF_WIDTH) ** 2) * (x - CENTRE) / HALF_WIDTH**2 + TILT


def bursts(friction: float, rng: np.random.Generator) -> np.ndarray:
    """Angles of bursts (bursts, frames), the start first, by the middle scheme of Langevin dynamics."""
    layers = np.repeat(np.arange(-100, 90, 5.0), PER_LAYER)
    x = layers + 5.0 * rng.random(len(layers))
    v = VELOCITY * rng.standard_normal(len(x))
    keep = np.exp(-friction * TIMESTEP)
    noise = np.sqrt(1 - keep * keep) * VELOCITY
    path = [x.copy()]
    for step in range(1, EVERY * FRAMES):
        v = v - TIMESTEP * VELOCITY**2 * slope(x)
        x = x + 0.5 * TIMESTEP * v
        v = keep * v + noise * rng.standard_normal(len(x))
        x = x + 0.5 * TIMESTEP * v
        if step % EVERY == 0:
            path.append(x.copy())
    return np.array(path).T


def difference(paths: np.ndarray, lag: int) -> float:
    """ln(population right of zero / left of it) from the Markov model of 5-degree cells."""
    cells = len(EDGES) + 1
    model = fit(count_transitions(list(np.digitize(paths, EDGES)), cells, lag, 0))
    right = np.append(EDGES, np.inf) > 0
    populations = model.populations(cells)
    return float(np.log(populations[right].sum() / populations[~right].sum()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--friction", type=float, nargs="+", default=[1.0, 5.0, 10.0, 20.0], help="1/ps")
    options = parser.parse_args()
    angles = np.linspace(-140, 130, 20001)
    weights = np.exp(-potential(angles))
    right = angles > EDGES[EDGES <= 0][-1] + 5.0
    print(f"exact {np.log(weights[right].sum() / weights[~right].sum()):.2f}")
    for friction in options.friction:
        rng = np.random.default_rng(0)
        made = [bursts(friction, rng) for _ in range(options.repeats)]
        for lag in (5, 10):
            values = [difference(paths, lag) for paths in made]
            print(f"friction {friction:4g}/ps, lag {lag * EVERY * TIMESTEP:.1f} ps: {np.mean(values):6.2f}"
                  f" +- {np.std(values, ddof=1) / len(values) ** 0.5:.2f}")  # fmt: skip
