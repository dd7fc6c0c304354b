"""Speed on this machine: rates of calls, the peak of matrix products, memory, imports, and the replica engine."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import openmm
from rich.table import Table

from latentmd import interpreter
from latentmd.analysis.metric import Document
from latentmd.replicas.choice import replica_engine, unsupported
from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.replicas import Replicas
from latentmd.report import figures, tables
from latentmd.systems.molecule import Molecule

REPLICA_MD = "plain MD, replica engine"
REPLICAS = 32  # together in a comparison, which is about the most that `latentmd md` gives a core
LANES = 16  # replicas in a block of the engine, which one thread works on
_TEMPERATURE_STEPS = 200  # after the minimisation and before a timing
_PEAK_SIZE = 1024


class Rate(NamedTuple):
    """Calls per second of wall time: median, slowest and fastest repeat, and how many calls were timed in total."""

    per_second: float
    low: float
    high: float
    calls: int


def rate(call: Callable[[], object], seconds: float = 0.6, repeats: int = 3) -> Rate:
    """Time a call, which waits for asynchronous work itself: once to warm up, then in stretches of `seconds` in all."""
    call()
    rates, calls = [], 0
    for _ in range(repeats):
        done, elapsed, start = 0, 0.0, time.perf_counter()
        while done == 0 or elapsed < seconds / repeats:
            call()
            done, elapsed = done + 1, time.perf_counter() - start
        rates.append(done / elapsed)
        calls += done
    rates.sort()
    return Rate(rates[len(rates) // 2], rates[0], rates[-1], calls)


def matmul_peak(device: str = "cpu", seconds: float = 0.6) -> float:
    """Peak in GFLOP/s of single-precision products of 1024 x 1024 matrices: the fastest of twenty stretches."""
    import torch

    size = _PEAK_SIZE if device == "cpu" else 8 * _PEAK_SIZE
    a = torch.randn(size, size, generator=torch.Generator(device).manual_seed(0), device=device)

    def product() -> None:
        torch.mm(a, a)
        synchronise(device)

    return 2e-9 * size**3 * rate(product, max(seconds, 1.0), 20).high


def synchronise(device: str) -> None:
    """Wait for the device's queue; nothing to do on a CPU."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def operations(call: Callable[[], object]) -> float:
    """Floating-point operations in the matrix products of one call (torch's counter), in GFLOP."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops()) * 1e-9


def peak_memory(device: str = "cpu") -> float:
    """Largest memory held so far in MiB: resident in this process, or allocated by torch on a GPU."""
    if device != "cpu":
        import torch

        return float(torch.cuda.max_memory_allocated()) / 2**20
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10


def import_seconds(statement: str, repeats: int = 3) -> float:
    """Wall time of a statement in a fresh interpreter, less that of an empty one; the best of a few, in seconds."""
    options: dict[str, Any] = {"env": interpreter.environment(), "check": True, "stdout": subprocess.DEVNULL}
    runs = (partial(subprocess.run, interpreter.command("-c", code), **options) for code in (statement, "pass"))
    best, empty = (min(timeit.repeat(run, number=1, repeat=repeats)) for run in runs)
    return max(best - empty, 0.0)


@dataclass(frozen=True)
class Row:
    """One line of the benchmark."""

    name: str
    size: str  #: walkers, frames or atoms it worked on
    rate: float  #: how much per second of wall time: the median, the slowest and the fastest of three repeats
    unit: str
    low: float = math.nan
    high: float = math.nan
    simulated: float | None = None  #: nanoseconds of trajectory per second, all walkers together, where time passes
    share: float | None = None  #: of the machine's measured peak in matrix products, where that is counted
    memory: float | None = None  #: peak memory of the process so far in MiB
    note: str = ""

    @classmethod
    def of(cls, name: str, size: str, timed: Rate, count: float, unit: str, step: float = 0.0, **more: Any) -> Row:
        """A row of timed calls with `count` of the unit in each, and `step` ps for each of those, where time passes."""
        value, low, high = (count * x for x in (timed.per_second, timed.low, timed.high))
        simulated = value * step / 1000 if step else None
        more = {"memory": peak_memory(), "simulated": simulated} | more
        return cls(name, size, value, unit, low=low, high=high, **more)


def table(rows: Sequence[Row]) -> Table:
    """The rows as a rich table; the name alone may break, so that every number is seen on 80 columns."""
    cells = [
        (
            row.name, row.size, f"{tables.number(row.rate)} {row.unit}",
            "" if row.simulated is None else tables.number(row.simulated),
            "" if row.share is None else f"{100 * row.share:.1f} %", "" if row.memory is None else f"{row.memory:.0f}",
        )
        for row in rows
    ]  # fmt: skip
    headings = ("what", "size", "rate", "ns per s", "of peak", "MiB")
    made = tables.listing("Benchmark (median of three repeats)", headings, cells, left=2)
    for column in made.columns[1:4]:
        column.no_wrap = True
    return made


def scan_table(scan: Sequence[Document]) -> Table:
    """Cost against atoms as a rich table: one row per size, a dash where it was not timed."""
    names = list(dict.fromkeys(name for row in scan for name in row))
    cells = [[str(row[n]) if n == "atoms" else tables.number(row.get(n)) for n in names] for row in scan]
    return tables.listing("Cost against atoms", names, cells, left=0)


def plot(rows: Sequence[Row], scan: Sequence[Document]) -> bytes:
    """Simulated time per second of each way, by walkers, and cost against atoms, as PNG."""
    walkers: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row.simulated is not None and math.isfinite(row.simulated):
            walkers.setdefault(row.name, []).append((int(row.size.split()[0]), row.simulated))
    names = sorted({key for row in scan for key in row if key.endswith(("s/step", "s/frame"))})
    atoms = {name: [(row["atoms"], row[name]) for row in scan if name in row] for name in names}
    made, axes = figures.figure(1, 2, width=4.6, height=3.2)
    for axis, curves, labels in zip(
        axes, (walkers, atoms), (("walkers", "ns of trajectory per second"), ("atoms", "seconds")), strict=True
    ):
        for name, points in curves.items():
            axis.plot(*zip(*points, strict=True), "o-", ms=3, lw=1.2, label=name)
        axis.set(xscale="log", yscale="log", xlabel=labels[0], ylabel=labels[1])
        if curves:
            axis.legend(frameon=False, fontsize=7)
    return figures.png(made)


def _engine(make: Callable[..., Replicas], molecule: Molecule, replicas: int, **options: Any) -> Replicas:
    """Replicas of a molecule at its temperature."""
    protocol = molecule.protocol
    starts = np.repeat(np.asarray(molecule.positions._value)[None], replicas, axis=0)
    engine = make(molecule.system, starts, temperature=protocol.temperature, seed=1, **options)
    engine.minimize(100)
    engine.draw_velocities()
    engine.langevin(_TEMPERATURE_STEPS, timestep=protocol.timestep, friction=protocol.friction)
    return engine


def replica_row(molecule: Molecule, seconds: float) -> Row:
    """Plain MD of walkers that fill all cores; a row with a reason where the engine cannot simulate the molecule."""
    threads, protocol = len(os.sched_getaffinity(0)), molecule.protocol
    walkers = max(REPLICAS, LANES * threads)
    reason = unsupported(molecule.system)
    if reason:
        return Row(REPLICA_MD, f"{walkers} walkers", math.nan, "steps/s", note=reason)
    engine = _engine(replica_engine, molecule, walkers, threads=threads)
    steps = partial(engine.langevin, 50, timestep=protocol.timestep, friction=protocol.friction)
    timed, note = rate(steps, seconds), f"{engine.variant}, {threads} threads"
    count, step = 50 * walkers, protocol.timestep
    return Row.of(REPLICA_MD, f"{walkers} walkers", timed, count, "steps/s", step=step, note=note)


@dataclass(frozen=True)
class SpeedComparison:
    """What a step of a replica costs on one core: microseconds of processor time (medians of rounds) with the engine
    and with each OpenMM platform, and the ratio of the fastest of these to the engine (median, smallest, largest).
    """

    atoms: int
    replicas: int
    variant: str
    engine: float
    openmm: dict[str, float]
    ratio: tuple[float, float, float]

    def __str__(self) -> str:
        """The comparison in a sentence."""
        fastest = min(self.openmm, key=lambda name: self.openmm[name])
        return (
            f"one core, {self.atoms} atoms: replica engine ({self.variant}) {self.engine:.2f} µs per walker and step, "
            f"OpenMM {fastest} {self.openmm[fastest]:.1f} µs: {self.ratio[0]:.1f} times "
            f"({self.ratio[1]:.1f} to {self.ratio[2]:.1f})"
        )


def per_core(
    molecule: Molecule, seconds: float = 0.3, rounds: int = 5, replicas: int = REPLICAS, variant: str | None = None
) -> SpeedComparison | None:
    """Processor time of a Langevin step by engine and OpenMM, in turns of `seconds`; None where the engine cannot."""
    if unsupported(molecule.system):
        return None
    protocol = molecule.protocol
    engine = _engine(ReplicaEngine, molecule, replicas, threads=1, variant=variant)
    works = {"": partial(engine.langevin, timestep=protocol.timestep, friction=protocol.friction)}
    for platform in ("Reference", "CPU"):
        context = molecule.context(molecule.langevin(1), platform, 1)
        context.setPositions(engine.positions[0])
        context.setVelocitiesToTemperature(protocol.temperature, 1)
        works[platform] = partial(run_steps, context)
    chunks = {key: _steps(work, seconds) for key, work in works.items()}
    times = np.array([[_cost(works[key], chunks[key]) for key in works] for _ in range(rounds)])
    times[:, 0] /= replicas
    own, *others = np.median(times, axis=0).tolist()
    ratios = times[:, 1 + int(np.argmin(others))] / times[:, 0]
    spread = (float(np.median(ratios)), float(ratios.min()), float(ratios.max()))
    openmm = dict(zip(list(works)[1:], others, strict=True))
    return SpeedComparison(len(engine.positions[0]), replicas, engine.variant, own, openmm=openmm, ratio=spread)


def run_steps(context: openmm.Context, steps: int) -> None:
    """Advance an OpenMM Context and wait, where its platform is asynchronous."""
    context.getIntegrator().step(steps)
    context.getState()


def _steps(work: Callable[[int], None], seconds: float) -> int:
    """Steps that take about so many seconds of processor time."""
    steps = 10
    while (cost := _cost(work, steps) * 1e-6 * steps) < 0.1 * seconds:
        steps *= 4
    return max(1, int(steps * seconds / cost))


def _cost(work: Callable[[int], None], steps: int) -> float:
    """Microseconds of processor time of all threads per step."""
    begin = time.process_time()
    work(steps)
    return 1e6 * (time.process_time() - begin) / steps
