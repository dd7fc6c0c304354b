"""Temperature replica exchange with plain MD on the replica engine: a long reference, or plain MD with one temperature.

    python examples/statistics/reference.py my.pdb --minutes 15 --out my-reference.npz
    python examples/statistics/reference.py my.pdb --minutes 15 --hottest 300 --out my-md.npz

Several ladders side by side fill the processor's vector registers. Torsions of the coldest temperature are written, one
frame per exchange, and how many energies were evaluated at all temperatures together.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from latentmd.molecule.checks import topology_arrays, torsions
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.replicas.choice import replica_engine
from latentmd.sampling.metropolis.tempering import ladder
from latentmd.systems.builder import Protocol, build
from latentmd.units import GAS_CONSTANT

LANES = 16
PERIOD = 1.0  # ps between exchanges
DISCARD = 0.1  # share of the frames that is left out as equilibration


def exchange(engine, kelvin: np.ndarray, first: int, rng: np.random.Generator) -> tuple[int, int]:
    """Exchange rungs (first, first + 1), ...; velocities are rescaled. How many were tried and accepted."""
    rungs, beta = len(kelvin), 1 / (GAS_CONSTANT * kelvin)
    energies, x, v = engine.energies(), engine.positions, engine.velocities
    tried = taken = 0
    for low in range(first, rungs - 1, 2):
        a = np.arange(low, engine.replicas, rungs)
        exponent = (beta[low] - beta[low + 1]) * (energies[a] - energies[a + 1])
        a = a[np.log(rng.random(len(a))) < exponent]
        tried, taken = tried + engine.replicas // rungs, taken + len(a)
        x[np.r_[a, a + 1]] = x[np.r_[a + 1, a]]
        scale = np.sqrt(kelvin[low] / kelvin[low + 1])
        v[a], v[a + 1] = v[a + 1] * scale, v[a] / scale
    engine.set_positions(x)
    engine.set_velocities(v)
    return tried, taken


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("pdb", type=Path)
parser.add_argument("--minutes", type=float, required=True)
parser.add_argument("--temperature", type=float, default=300.0)
parser.add_argument("--hottest", type=float, default=600.0)
parser.add_argument("--timestep", type=float, default=0.004, help="ps; populations depend on it a little")
parser.add_argument("--solvent", default="implicit")
parser.add_argument("--force-field", action="append", default=[])
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, required=True)
o = parser.parse_args()

protocol = Protocol(o.solvent, tuple(o.force_field), temperature=o.temperature, timestep=o.timestep)
molecule = build(o.pdb, protocol)
system, n = molecule.system, molecule.system.getNumParticles()
kelvin = ladder(o.temperature, o.hottest, 3 * n - 6 - system.getNumConstraints())
ladders = max(1, LANES // len(kelvin))
every = np.tile(kelvin, ladders)
start = np.repeat(np.asarray(molecule.positions._value)[None], len(every), axis=0)
engine = replica_engine(system, start, temperature=every, seed=o.seed)
engine.minimize(500)
engine.draw_velocities()
quads = rotatable_torsions(*topology_arrays(molecule.topology))
rng, steps = np.random.default_rng(o.seed), round(PERIOD / protocol.timestep)
frames, tried, taken, begin = [], 0, 0, time.monotonic()
while time.monotonic() - begin < 60 * o.minutes:
    engine.langevin(steps, timestep=protocol.timestep, friction=protocol.friction)
    more = exchange(engine, kelvin, len(frames) % 2, rng)
    tried, taken = tried + more[0], taken + more[1]
    frames.append(torsions(engine.positions[:: len(kelvin)], quads).astype(np.float32))
kept = np.array(frames[round(DISCARD * len(frames)) :]).transpose(1, 0, 2)
calls = len(frames) * (steps + 1) * len(every)
np.savez(o.out, angles=kept, quads=quads, calls=calls, kelvin=kelvin, exchange=taken / max(tried, 1))
print(f"{o.out}: {ladders} ladders of {len(kelvin)} temperatures, {len(frames) * PERIOD / 1000:.1f} ns each, "
      f"{calls:.3g} energies, {taken / max(tried, 1):.2f} of the exchanges accepted")  # fmt: skip
