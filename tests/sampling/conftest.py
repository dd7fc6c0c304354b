"""Wall time that does not depend on how fast the machine is, and a cluster one of whose workers is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@contextmanager
def _two_workers(begun: Callable[[], bool]) -> Iterator[str]:
    import distributed

    package: Any = distributed
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": "CRITICAL"}
    with package.LocalCluster(**options) as cluster, ThreadPoolExecutor(1) as pool:
        victim = min(worker.pid for worker in cluster.workers.values())

        def kill() -> None:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and not begun():
                time.sleep(0.02)
            os.kill(victim, signal.SIGKILL)

        killed = pool.submit(kill)
        yield str(cluster.scheduler_address)
        assert killed.done(), "all work was done before a worker was killed"
        killed.result()


@pytest.fixture
def two_workers() -> Callable[[Callable[[], bool]], AbstractContextManager[str]]:
    """A local Dask cluster by its address, one of whose two workers is killed once work has begun."""
    return _two_workers


@pytest.fixture(scope="session")
def solute_model(ou_surrogate: Any, ou_manifest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of alanine dipeptide in water, in a force field that is not known."""
    from latentmd.model.file import save

    path = tmp_path_factory.mktemp("wet") / "mine.pt"
    save(path, ou_surrogate, {**ou_manifest, "solvent": "explicit", "force_field": []})
    return path
