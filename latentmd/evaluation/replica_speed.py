"""Speed of plain MD with the replica engine, beside OpenMM's on the same cores."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.evaluation import speed
from latentmd.evaluation.speed import Row

if TYPE_CHECKING:
    from latentmd.systems.builder import Molecule

NAME = "plain MD, replica engine"
REPLICAS = 32  # together in the comparison, which is about the most that `latentmd md` gives a core
LANES = 16  # replicas in a block of the engine, which one thread works on
_TEMPERATURE_STEPS = 200  # after the minimisation and before a timing


def replica_row(molecule: Molecule, seconds: float) -> Row:
    """Plain MD of walkers that fill all cores; a row with a reason where the engine cannot simulate the molecule.

    Args:
        molecule: to simulate.
        seconds: wall time of the timing.
    """
    from latentmd.replicas.choice import unsupported
    from latentmd.replicas.engine import ReplicaEngine

    threads = len(os.sched_getaffinity(0))
    walkers = max(REPLICAS, LANES * threads)
    size = f"{walkers} walkers"
    reason = unsupported(molecule.system)
    if reason:
        return Row(NAME, size, np.nan, unit="steps/s", low=np.nan, high=np.nan, note=reason)
    protocol = molecule.protocol
    start = np.repeat(np.asarray(molecule.positions._value)[None], walkers, axis=0)
    engine = ReplicaEngine(molecule.system, start, temperature=protocol.temperature, threads=threads)
    engine.minimize(100)
    engine.draw_velocities()
    scheme = {"timestep": protocol.timestep, "friction": protocol.friction}
    engine.langevin(_TEMPERATURE_STEPS, **scheme)
    timed = speed.rate(partial(engine.langevin, 50, **scheme), seconds)
    values = [50 * walkers * x for x in (timed.per_second, timed.low, timed.high)]
    return Row(
        NAME, size, values[0], unit="steps/s", low=values[1], high=values[2],
        simulated=values[0] * protocol.timestep / 1000, memory=speed.peak_memory(),
        note=f"{engine.variant}, {threads} threads",
    )  # fmt: skip


def per_core(molecule: Molecule, seconds: float, rounds: int = 3) -> dict[str, Any] | None:
    """Processor time of a step with the engine and with each of OpenMM's platforms, in turns on one core.

    Args:
        molecule: to simulate.
        seconds: that each runs in every round.
        rounds: of the comparison.

    Returns:
        JSON values: microseconds per replica and step of "engine" and of "openmm" by platform, and "ratio" of OpenMM's
        fastest over the engine (median, smallest, largest); None where the engine cannot simulate the molecule.
    """
    from latentmd.replicas.benchmark import compare
    from latentmd.replicas.choice import unsupported

    if unsupported(molecule.system):
        return None
    protocol = molecule.protocol
    found = compare(
        "", molecule.system, molecule.positions._value, replicas=REPLICAS, temperature=protocol.temperature,
        timestep=protocol.timestep, friction=protocol.friction, rounds=rounds, seconds=seconds,
    )  # fmt: skip
    return {
        "atoms": found.atoms, "replicas": found.replicas, "variant": found.variant, "engine": found.engine,
        "openmm": found.openmm, "ratio": list(found.ratio),
    }  # fmt: skip


def per_core_line(found: dict[str, Any]) -> str:
    """A sentence with the result of `per_core`."""
    fastest = min(found["openmm"], key=lambda name: float(found["openmm"][name]))
    low, high = found["ratio"][1:]
    return (
        f"one core, {found['atoms']} atoms: replica engine ({found['variant']}) {found['engine']:.2f} µs per walker "
        f"and step, OpenMM {fastest} {found['openmm'][fastest]:.1f} µs: {found['ratio'][0]:.1f} times "
        f"({low:.1f} to {high:.1f})"
    )
