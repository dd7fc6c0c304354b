"""Speed of plain MD with the replica engine, beside OpenMM's on the same cores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.evaluation import speed
from latentmd.evaluation.speed import Row
from latentmd.replicas.engine import ReplicaEngine

if TYPE_CHECKING:
    import openmm

    from latentmd.systems.builder import Molecule

Work = Callable[[int], None]  # runs a number of steps


@dataclass(frozen=True)
class SpeedComparison:
    """What a step of one replica costs.

    Attributes:
        name: of the molecule.
        atoms: in the molecule.
        replicas: that the engine ran.
        variant: the engine's instruction set.
        engine: microseconds of processor time per replica and step, median of the rounds.
        openmm: the same of OpenMM, one replica at a time, by platform.
        ratio: OpenMM's fastest platform over the engine: median, smallest and largest of the rounds.
    """

    name: str
    atoms: int
    replicas: int
    variant: str
    engine: float
    openmm: dict[str, float]
    ratio: tuple[float, float, float]


def compare(
    name: str,
    system: openmm.System,
    positions: Floats,
    *,
    replicas: int = 32,
    temperature: float = 300.0,
    timestep: float = 0.002,
    friction: float = 1.0,
    platforms: Sequence[str] = ("Reference", "CPU"),
    variant: str | None = None,
    rounds: int = 5,
    seconds: float = 0.3,
) -> SpeedComparison:
    """Time Langevin steps of the engine and of OpenMM's platforms for processors, one core each, in turns.

    Args:
        name: of the molecule, for the table.
        system: of a kind that the engine reads.
        positions: nm, shape (atoms, 3); both minimise and warm up from there.
        replicas: that the engine runs together.
        temperature: kelvin.
        timestep: ps.
        friction: 1/ps.
        platforms: of OpenMM; those of GPUs cannot be compared by processor time.
        variant: the engine's instruction set; the fastest where None.
        rounds: of the comparison.
        seconds: that each of them runs in each round, roughly.

    Returns:
        Medians over the rounds.

    Raises:
        UnsupportedError: the engine does not know a force of the System.
        RuntimeError: the kernel is not installed, or not for this instruction set.
    """
    if rounds < 1 or seconds <= 0:
        raise ValueError(f"{rounds} rounds of {seconds:g} s; expected at least one of a positive time")
    start = np.asarray(positions, dtype=np.float64)
    engine = ReplicaEngine(
        system, np.repeat(start[None], replicas, axis=0), temperature=temperature, seed=1, threads=1, variant=variant
    )
    engine.minimize(100)
    engine.draw_velocities()
    works: dict[str, Work] = {"": lambda steps: engine.langevin(steps, timestep=timestep, friction=friction)}
    for platform in platforms:
        works[platform] = _openmm(system, engine.positions[0], platform, (temperature, timestep, friction))
    chunks = {key: _steps(work, seconds) for key, work in works.items()}
    times = np.array([[_cost(works[key], chunks[key]) for key in works] for _ in range(rounds)])
    times[:, 0] /= replicas
    medians = np.median(times, axis=0)
    ratios = times[:, 1 + int(np.argmin(medians[1:]))] / times[:, 0]
    return SpeedComparison(
        name=name,
        atoms=len(start),
        replicas=replicas,
        variant=engine.variant,
        engine=float(medians[0]),
        openmm=dict(zip(platforms, medians[1:].tolist(), strict=True)),
        ratio=(float(np.median(ratios)), float(ratios.min()), float(ratios.max())),
    )


def table(rows: Sequence[SpeedComparison]) -> str:
    """Comparisons as a Markdown table, in microseconds per replica and step."""
    platforms = list(dict.fromkeys(platform for row in rows for platform in row.openmm))
    head = ["molecule", "atoms", "replicas", "engine", "µs", *(f"OpenMM {p}, µs" for p in platforms), "ratio"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        others = [f"{row.openmm[p]:.1f}" if p in row.openmm else "" for p in platforms]
        ratio = "{:.1f} ({:.1f} to {:.1f})".format(*row.ratio)
        cells = [row.name, str(row.atoms), str(row.replicas), row.variant, f"{row.engine:.2f}", *others, ratio]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _openmm(system: openmm.System, positions: Floats, platform: str, scheme: tuple[float, float, float]) -> Work:
    import openmm

    temperature, timestep, friction = scheme
    integrator = openmm.LangevinMiddleIntegrator(temperature, friction, timestep)
    integrator.setRandomNumberSeed(1)
    properties = {"Threads": "1"} if platform == "CPU" else {}
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform), properties)
    context.setPositions(positions)
    context.setVelocitiesToTemperature(temperature, 1)

    def work(steps: int) -> None:
        context.getIntegrator().step(steps)  # the Context must outlive this function
        context.getState()

    return work


def _steps(work: Work, seconds: float) -> int:
    """Steps that take about so many seconds of processor time."""
    steps = 10
    while (cost := _cost(work, steps) * 1e-6 * steps) < 0.1 * seconds:
        steps *= 4
    return max(1, int(steps * seconds / cost))


def _cost(work: Work, steps: int) -> float:
    """Microseconds of processor time of all threads per step."""
    begin = time.process_time()
    work(steps)
    return 1e6 * (time.process_time() - begin) / steps


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
