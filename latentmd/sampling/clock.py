"""Wall time by phase: of one process, and of a run over all its sessions."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from latentmd.io.atomic import write_text


class PhaseClock:
    """Adds up the wall time of phases, which a `with clock(phase):` names.

    Attributes:
        seconds: wall time by phase.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - start


class SessionClock:
    """Adds the wall time of phases to a file, so that a resumed run still knows what earlier sessions took.

    Args:
        path: JSON file, made with the first phase.

    Attributes:
        seconds: wall time by phase, over all sessions.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens inside and add it to a phase."""
        begin, before = time.monotonic(), self.seconds.get(name, 0.0)
        try:
            yield
        finally:
            self.seconds[name] = round(before + time.monotonic() - begin, 2)
            write_text(self.path, json.dumps(self.seconds, indent=1) + "\n")


@dataclass(frozen=True)
class Spent:
    """Cost of what came before the rounds of a hybrid run.

    Attributes:
        simulated: MD at high temperature, ps.
        seconds: wall time by phase, over all sessions.
    """

    simulated: float
    seconds: dict[str, float]

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())
