"""Speed: the machine's measured peak, the rate of a call, its arithmetic, peak memory and import times."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from latentmd import interpreter

_PEAK_SIZE = 1024


@dataclass(frozen=True)
class Rate:
    """Calls per second of wall time.

    Attributes:
        per_second: the median over the repeats.
        low, high: slowest and fastest repeat.
        calls: calls timed in total.
    """

    per_second: float
    low: float
    high: float
    calls: int


def rate(call: Callable[[], Any], seconds: float = 0.6, repeats: int = 3) -> Rate:
    """Time a call: once to warm up, then in `repeats` stretches that share `seconds`.

    Args:
        call: what to time; it must wait for asynchronous work itself.
        seconds: wall time to spend, apart from the first call; every stretch makes at least one call.
        repeats: stretches; the median of their rates is reported.
    """
    call()
    rates, calls = [], 0
    for _ in range(repeats):
        done, start = 0, time.perf_counter()
        while True:
            call()
            done += 1
            elapsed = time.perf_counter() - start
            if elapsed >= seconds / repeats:
                break
        rates.append(done / elapsed)
        calls += done
    rates.sort()
    return Rate(rates[len(rates) // 2], rates[0], rates[-1], calls)


def matmul_peak(device: str = "cpu", seconds: float = 0.6) -> float:
    """Measured peak in GFLOP/s: single-precision products of 1024 x 1024 matrices, with torch's current threads.

    The fastest of twenty stretches, so that other work on the machine lowers it least.
    """
    import torch

    size = _PEAK_SIZE if device == "cpu" else 8 * _PEAK_SIZE
    generator = torch.Generator(device).manual_seed(0)
    a = torch.randn(size, size, generator=generator, device=device)

    def product() -> None:
        torch.mm(a, a)
        synchronise(device)

    return 2e-9 * size**3 * rate(product, max(seconds, 1.0), 20).high


def synchronise(device: str) -> None:
    """Wait for the device's queue; nothing to do on a CPU."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def operations(call: Callable[[], Any]) -> float:
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

    def best(code: str) -> float:
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            again = interpreter.command("-c", code)
            subprocess.run(again, env=interpreter.environment(), check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
        return min(times)

    return max(best(statement) - best("pass"), 0.0)


@dataclass(frozen=True)
class Row:
    """One line of the benchmark.

    Attributes:
        name: what was timed.
        size: walkers, frames or atoms it worked on.
        rate, unit: how much per second of wall time.
        low, high: slowest and fastest of three repeats.
        simulated: nanoseconds of trajectory per second, all walkers together, where time passes.
        share: of the machine's measured peak in matrix products, where that is counted.
        memory: peak memory of the process so far in MiB.
        note: what a reader must know.
    """

    name: str
    size: str
    rate: float
    unit: str
    low: float
    high: float
    simulated: float | None = None
    share: float | None = None
    memory: float | None = None
    note: str = ""


def table(rows: Sequence[Row]) -> Any:
    """The rows as a rich table."""
    from rich.table import Table

    from latentmd.report import tables

    made = Table(title="Benchmark (median of three repeats)", title_justify="left")
    for index, heading in enumerate(("what", "size", "rate", "ns per s", "of peak", "MiB")):
        # The name alone may break, so that every number is seen on a terminal of 80 columns.
        made.add_column(heading, justify="right" if index > 1 else "left", no_wrap=0 < index < 4)
    for row in rows:
        share = "" if row.share is None else f"{100 * row.share:.1f} %"
        simulated = "" if row.simulated is None else tables.number(row.simulated)
        memory = "" if row.memory is None else f"{row.memory:.0f}"
        made.add_row(*(row.name, row.size, f"{tables.number(row.rate)} {row.unit}", simulated, share, memory))
    return made


def scan_table(scan: Sequence[dict[str, Any]]) -> Any:
    """Cost against atoms as a rich table: one row per size, a dash where it was not timed."""
    from rich.table import Table

    from latentmd.report import tables

    names = list(dict.fromkeys(name for row in scan for name in row))
    made = Table(title="Cost against atoms", title_justify="left")
    for name in names:
        made.add_column(name, justify="right")
    for row in scan:
        made.add_row(*(str(row[n]) if n == "atoms" else tables.number(row.get(n)) for n in names))
    return made


def plot(rows: Sequence[Row], scan: Sequence[dict[str, Any]]) -> bytes:
    """Simulated time per second of each way, by walkers, and cost against atoms, as PNG."""
    from latentmd.report import figures

    made, axes = figures.figure(1, 2, width=4.6, height=3.2)
    by_name: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row.simulated is not None and math.isfinite(row.simulated):
            by_name.setdefault(row.name, []).append((int(row.size.split()[0]), row.simulated))
    for name, points in by_name.items():
        axes[0].plot(*zip(*points, strict=True), "o-", ms=3, lw=1.2, label=name)
    axes[0].set(xscale="log", yscale="log", xlabel="walkers", ylabel="ns of trajectory per second")
    axes[0].legend(frameon=False, fontsize=7)
    names = sorted({key for row in scan for key in row if key.endswith(("s/step", "s/frame"))})
    for name in names:
        points = [(row["atoms"], row[name]) for row in scan if name in row]
        axes[1].plot(*zip(*points, strict=True), "o-", ms=3, lw=1.2, label=name)
    axes[1].set(xscale="log", yscale="log", xlabel="atoms", ylabel="seconds")
    if names:
        axes[1].legend(frameon=False, fontsize=7)
    return figures.png(made)
