"""Cost of plain MD: what is told, and how a run is laid out for the wall time that it has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from latentmd.replicas.library import library
from latentmd.sampling.walkers.md import Cost, laid_out


def test_a_long_run_is_told_with_its_budget_and_a_short_one_is_not(settings: Any) -> None:
    cost = Cost(rate=100.0, at_once=16)  # ps per second
    long = settings("md", 10_000.0, 100.0, walkers=16)
    assert cost.sentence(long) == "plain MD of 160 ns (16 walkers of 10 ns) takes about 27 min here, at 8.64e+03 ns/day"
    limited = cost.sentence(replace(long, wall=600.0))
    assert "ends after 10 min with about 42 ns" in limited and "--resume" in limited
    assert not cost.sentence(settings("md", 10.0, 1.0))
    assert replace(cost, room=32).sentence(long).endswith("8.64e+03 ns/day; 32 walkers would take no longer")


def test_little_wall_time_means_closer_frames_and_less_equilibration(settings: Any) -> None:
    asked = settings("md", 10_000.0, 100.0, walkers=16, closer=True)
    assert laid_out(asked, Cost(16.0, 16), 0.004, None) == asked  # no limit
    found = laid_out(replace(asked, wall=60.0), Cost(16.0, 16), 0.004, None)  # 42 ps of each walker
    assert found.interval == 0.2 and found.equilibration == pytest.approx(2.1)
    given = laid_out(replace(asked, wall=60.0, closer=False), Cost(16.0, 16), 0.004, None)
    assert given.interval == 100.0 and given.equilibration == found.equilibration
    plenty = laid_out(replace(asked, wall=6000.0), Cost(1600.0, 16), 0.004, None)
    assert (plenty.interval, plenty.equilibration) == (100.0, 100.0)


def test_a_resumed_run_keeps_its_layout(settings: Any) -> None:
    asked = settings("md", 10_000.0, 100.0, closer=True, wall=60.0)
    found = laid_out(asked, Cost(1e6, 2), 0.004, {"save every": 0.5, "equilibration": 1.2})
    assert (found.interval, found.equilibration) == (0.5, 1.2)
    assert laid_out(replace(asked, closer=False), Cost(1.0, 2), 0.004, {"save every": 0.5}).interval == 100.0


@pytest.mark.skipif(library() is None, reason="the kernel is not installed: there was no C++ compiler")
def test_the_kernel_is_timed_and_openmm_was(prepared: Any, settings: Any) -> None:
    s = settings("md", 1.0, 0.2, walkers=8)
    kernel = Cost.measured(prepared, s, 2, replicas=True)
    assert kernel.rate > 0 and (kernel.at_once, kernel.room) == (8, 32)
    assert Cost.measured(prepared, s, 2, replicas=False) == Cost(1000.0 * 0.004 * 2, 2)
