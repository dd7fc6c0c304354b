"""Wall time that does not depend on how fast the machine is."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from latentmd.sampling.metropolis import run as chains
from latentmd.sampling.run import clock as module


@dataclass
class Clock:
    """Stands for the module `time`: goes on by `tick` seconds each time somebody looks at it."""

    now: float = 1000.0
    tick: float = 0.0

    def monotonic(self) -> float:
        self.now += self.tick
        return self.now

    perf_counter, time = monotonic, staticmethod(time.time)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of budgets, deadlines and the rates of chains in this process; it stands still until it is told."""
    found = Clock()
    for user in (module, chains):
        monkeypatch.setattr(user, "time", found)
    return found
