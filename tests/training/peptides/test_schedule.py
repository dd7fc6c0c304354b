"""Progress through a stage, and the learning rate along it."""

from __future__ import annotations

import pytest

from latentmd.training.peptides.schedule import Schedule, learning_rate


def test_a_stage_ends_after_its_steps_or_its_seconds() -> None:
    fractions = list(Schedule(1e9, 5))
    assert fractions == pytest.approx([0, 0.2, 0.4, 0.6, 0.8], abs=1e-6)
    assert list(Schedule(1e-9, 5)) == []


def test_a_resumed_stage_goes_on_where_it_stood() -> None:
    schedule = Schedule(100.0, 10)
    schedule.resume(0.0, 7)
    assert len(list(schedule)) == 3 and schedule.done == 10
    other = Schedule(100.0, 10**9)
    other.resume(50.0, 3)
    assert next(other) == pytest.approx(0.5, abs=1e-3) and other.spent == pytest.approx(50, abs=0.1)
    other.resume(101.0, 3)
    assert list(other) == []


def test_the_learning_rate_rises_then_falls_to_a_hundredth() -> None:
    assert learning_rate(0.0, 1.0) < 0.05
    assert learning_rate(0.03, 1.0) == pytest.approx(1.0)
    assert learning_rate(0.515, 1.0) == pytest.approx(0.505)
    assert learning_rate(1.0, 1.0) == pytest.approx(0.01)
    falling = [learning_rate(x / 100, 1.0) for x in range(3, 101)]
    assert falling == sorted(falling, reverse=True)
