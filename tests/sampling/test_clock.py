"""Clocks add up, also over sessions and where a phase fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentmd.sampling.clock import PhaseClock, SessionClock, Spent


def test_phases_add_up() -> None:
    clock = PhaseClock()
    for _ in range(2):
        with clock("work"):
            pass
    assert list(clock.seconds) == ["work"] and clock.seconds["work"] >= 0


def test_a_session_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    path = tmp_path / "seconds.json"
    path.write_text(json.dumps({"starts": 10.0, "training": 5.0}))
    clock = SessionClock(path)
    with pytest.raises(ZeroDivisionError), clock.phase("training"):
        1 / 0  # noqa: B018
    again = SessionClock(path)
    assert again.seconds["starts"] == 10.0 and again.seconds["training"] >= 5.0
    assert again.total == sum(again.seconds.values()) == Spent(0.0, again.seconds).total
