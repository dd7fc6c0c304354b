"""What exact chains are asked for, and how their wall time is shared out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latentmd.sampling.metropolis.settings import ChainsRequest, Schedule
from latentmd.sampling.run.clock import Budget


def test_budgets_are_positive() -> None:
    with pytest.raises(ValueError, match="--wall is 0 s; expected more than 0"):
        ChainsRequest(out=Path("out"), wall=0.0)
    assert ChainsRequest(out=Path("out")).wall is None and ChainsRequest(out=Path("out"), wall=2.0).wall == 2.0


@pytest.fixture
def schedule(tmp_path: Path, clock: Any) -> Callable[[float | None, float], Schedule]:
    """A schedule of so many seconds, of which some are spent, on a clock that stands still."""
    return lambda wall, spent: Schedule(
        Budget(tmp_path / "wall.json", wall, clock.now - spent), bursts=2000.0, energies=1000.0
    )


def test_what_follows_the_chains_is_reserved(schedule: Any) -> None:
    found = schedule(100.0, 10.0)
    assert found.pictures == pytest.approx(13.0)  # somewhat longer than the preparation
    assert found.pilot().left == pytest.approx(27.0) and not found.loads_model()
    assert found.chains().left == pytest.approx(57.0)  # a tenth for each, by no rate yet
    found.rate, found.preparation = 1000.0, 2.0
    assert found.loads_model()
    assert found.chains().left == pytest.approx(87.4 - 1.3 - (2.6 + 5.0))
    assert found.control().left == pytest.approx(87.4 - (2.6 + 5.0))
    assert found.rates().left == pytest.approx(87.4)
    assert found.segment().left == pytest.approx(5.0)
    found.rate = 1.0
    assert found.chains().left == pytest.approx(67.4)


def test_rates_are_left_out_where_there_is_no_time_to_load_what_they_need(schedule: Any) -> None:
    assert schedule(40.0, 10.0).rates().over and not schedule(70.0, 10.0).rates().over


def test_without_a_budget_only_segments_end(schedule: Any) -> None:
    found = schedule(None, 1000.0)
    for deadline in (found.pilot(), found.chains(), found.control(), found.rates()):
        assert deadline.left == float("inf")
    assert found.segment().left == pytest.approx(10.0) and found.loads_model()


def test_a_short_budget_keeps_most_of_it_from_the_page(schedule: Any) -> None:
    assert schedule(20.0, 15.0).pictures == 6.0 and schedule(20.0, 0.0).pictures == 1.5
