"""Wall time: of phases, of a run over all its sessions, and what is left until a run has to be over."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from latentmd.io.atomic import write_text


def process_start() -> float:
    """When this process was started, of `time.monotonic`; now where the system does not tell."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        age = 0.0
    return time.monotonic() - age


class Deadline:
    """A moment, seconds from now, at which work has to be over. Picklable; in another process it is the same moment."""

    def __init__(self, seconds: float = float("inf")) -> None:
        self._end = time.monotonic() + seconds

    def __repr__(self) -> str:
        return f"Deadline({self.left:.3g})"

    def __reduce__(self) -> tuple[Callable[[float], Deadline], tuple[float]]:
        return _deadline_at, (time.time() + self.left,)  # each machine has a monotonic clock of its own

    @property
    def left(self) -> float:
        """Seconds that are left; negative once it is over."""
        return self._end - time.monotonic()

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0

    def earlier(self, seconds: float) -> Deadline:
        """A deadline so many seconds before this one, for what other work has to follow."""
        return Deadline(self.left - seconds)


def _deadline_at(time_of_day: float) -> Deadline:
    return Deadline(time_of_day - time.time())


class Budget:
    """Wall time in seconds that all sessions of a run may take together, kept in a JSON file of its folder.

    A session began at `begun` of `time.monotonic`; None for any number of seconds.
    """

    def __init__(self, path: Path, seconds: float | None, begun: float) -> None:
        self.path, self.begun = path, begun
        self.seconds = float("inf") if seconds is None else seconds
        self.earlier = float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) if path.exists() else 0.0
        self.deadline = Deadline(self.seconds - self.spent)

    @property
    def session(self) -> float:
        """Seconds of this session so far."""
        return time.monotonic() - self.begun

    @property
    def spent(self) -> float:
        """Seconds of all sessions so far."""
        return self.earlier + self.session

    def keep(self) -> None:
        """Write down what is spent, so that a later session counts it, however this one ends."""
        self.path.parent.mkdir(exist_ok=True)
        write_text(self.path, json.dumps({"seconds": round(self.spent, 2)}) + "\n")


class PhaseClock:
    """Adds up the wall `seconds` of phases, which a `with clock(phase):` names.

    With a JSON file a resumed run knows what earlier sessions took.
    """

    def __init__(self, path: Path | None = None) -> None:
        earlier = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}
        self.path, self.seconds = path, defaultdict[str, float](float, earlier)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - start
            if self.path is not None:
                self.seconds[phase] = round(self.seconds[phase], 2)
                write_text(self.path, json.dumps(self.seconds, indent=1) + "\n")
