"""A prepared molecule, and a job run in this process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.sampling.run.options import WalkerOptions
from latentmd.sampling.run.preparation import Prepared

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.fixture(scope="session")
def prepared(alanine: Any) -> Prepared:
    """Alanine dipeptide at its minimum, on OpenMM's Reference platform."""
    return Prepared(alanine, ALANINE, np.asarray(alanine.positions._value), "Reference", threads=1, rate=1000.0)


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., WalkerOptions]:
    """settings(mode, time, interval, walkers=2, ...): of a run with seed 3."""

    def make(mode: Any, time: float, interval: float, **more: Any) -> WalkerOptions:
        given = {"walkers": 2, "seed": 3, "processes": 1, "out": tmp_path, "overwrite": False, "device": "cpu"}
        return WalkerOptions(mode=mode, time=time, interval=interval, **(given | more))

    return make


@pytest.fixture
def run_job(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, list[Any]]]:
    """run_job(job, stop_after=None) → messages by kind; timings of plain MD are skipped, states kept every time."""
    monkeypatch.setattr("latentmd.sampling.walkers.jobs.time_platform", lambda *_: 100.0)
    monkeypatch.setattr("latentmd.sampling.walkers.jobs.replica_rate", lambda *_: 100.0)
    monkeypatch.setattr("latentmd.sampling.walkers.jobs.PAUSE", 0.0)

    def run(job: Any, stop_after: int | None = None) -> dict[str, list[Any]]:
        messages: dict[str, list[Any]] = defaultdict(list)

        def stopped() -> bool:
            return stop_after is not None and len(messages["frames"]) >= stop_after

        job.run(lambda kind, **values: messages[kind].append(values), stopped)
        return messages

    return run
