"""Deadlines of the phases of exact chains: shares of the wall time, and a reserve by measured rates."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from latentmd.sampling.clock import Budget
from latentmd.sampling.metropolis.schedule import Schedule


def schedule(folder: Path, wall: float | None, spent: float) -> Schedule:
    return Schedule(Budget(folder / "wall.json", wall, time.monotonic() - spent), bursts=2000.0, energies=1000.0)


def test_what_follows_the_chains_is_reserved(tmp_path: Path) -> None:
    found = schedule(tmp_path, 100.0, 10.0)
    assert found.pictures == pytest.approx(13.0, abs=0.1)  # somewhat longer than the preparation
    assert found.pilot().left == pytest.approx(27.0, abs=0.1) and not found.loads_model()
    assert found.chains().left == pytest.approx(57.0, abs=0.1)  # a tenth for each, by no rate yet
    found.rate, found.preparation = 1000.0, 2.0
    assert found.loads_model()
    assert found.chains().left == pytest.approx(87.4 - 1.3 - (2.6 + 5.0), abs=0.1)
    assert found.control().left == pytest.approx(87.4 - (2.6 + 5.0), abs=0.1)
    assert found.rates().left == pytest.approx(87.4, abs=0.1)
    assert found.segment().left == pytest.approx(5.0, abs=0.1)
    found.rate = 1.0
    assert found.chains().left == pytest.approx(67.4, abs=0.1)


def test_rates_are_left_out_where_there_is_no_time_to_load_what_they_need(tmp_path: Path) -> None:
    assert schedule(tmp_path, 40.0, 10.0).rates().over and not schedule(tmp_path, 70.0, 10.0).rates().over


def test_without_a_budget_only_segments_end(tmp_path: Path) -> None:
    found = schedule(tmp_path, None, 1000.0)
    for deadline in (found.pilot(), found.chains(), found.control(), found.rates()):
        assert deadline.left == float("inf")
    assert found.segment().left == pytest.approx(10.0, abs=0.1) and found.loads_model()


def test_a_short_budget_keeps_most_of_it_from_the_page(tmp_path: Path) -> None:
    assert schedule(tmp_path, 20.0, 15.0).pictures == 6.0 and schedule(tmp_path, 20.0, 0.0).pictures == 1.5
