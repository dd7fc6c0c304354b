"""Speed: the machine's measured peak, the rate of a call, its arithmetic, peak memory and import times."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    """Measured peak in GFLOP/s: single-precision products of 1024 x 1024 matrices, with torch's current threads."""
    import torch

    size = _PEAK_SIZE if device == "cpu" else 8 * _PEAK_SIZE
    generator = torch.Generator(device).manual_seed(0)
    a = torch.randn(size, size, generator=generator, device=device)

    def product() -> None:
        torch.mm(a, a)
        synchronise(device)

    return 2e-9 * size**3 * rate(product, seconds).per_second


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
            subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
        return min(times)

    return max(best(statement) - best("pass"), 0.0)
