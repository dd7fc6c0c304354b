"""Plans of walkers: times that fit, processes, and walkers dealt out to them."""

from __future__ import annotations

import pytest

from latentmd.sampling.walkers.plan import check_times, processes_for, share


def test_walkers_are_dealt_out() -> None:
    assert share(range(5), 2) == [[0, 2, 4], [1, 3]]
    assert share(range(2), 8) == [[0], [1]]


def test_processes_are_no_more_than_walkers() -> None:
    assert processes_for(3, 8) == 3 and processes_for(8, 2) == 2
    with pytest.raises(ValueError, match="--walkers is 0; expected at least 1"):
        processes_for(0, None)
    with pytest.raises(ValueError, match="--processes is 0; expected at least 1"):
        processes_for(1, 0)


@pytest.mark.parametrize(
    ("time", "interval", "text"),
    [(10.0, 0.005, "expected a multiple of the time step, 4 fs"), (10.0, 4.0, "try 8 ps"), (0.0, 1.0, "--time is")],
)
def test_times_that_do_not_fit(time: float, interval: float, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_times(time, interval, 0.004)
