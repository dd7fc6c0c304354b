"""Clocks add up, also over sessions and where a phase fails."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from latentmd.sampling.run.clock import Budget, Deadline, PhaseClock, process_start


def test_phases_add_up() -> None:
    clock = PhaseClock()
    for _ in range(2):
        with clock("work"):
            pass
    assert list(clock.seconds) == ["work"] and clock.seconds["work"] >= 0


def test_a_session_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    path = tmp_path / "seconds.json"
    path.write_text(json.dumps({"starts": 10.0, "training": 5.0}))
    clock = PhaseClock(path)
    with pytest.raises(ZeroDivisionError), clock("training"):
        1 / 0  # noqa: B018
    again = PhaseClock(path)
    assert again.seconds["starts"] == 10.0 and again.seconds["training"] >= 5.0


def test_a_deadline_is_the_same_moment_in_another_process() -> None:
    script = "import pickle, sys; print(pickle.load(sys.stdin.buffer).left)"
    deadline = Deadline(1000.0)
    found = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(deadline), capture_output=True, check=True
    )
    assert deadline.left - 0.1 < float(found.stdout) < 1000.0
    assert not deadline.over and deadline.earlier(1000.0).over
    assert pickle.loads(pickle.dumps(Deadline())).left == float("inf")


def test_the_start_of_a_process_comes_before_its_imports() -> None:
    script = (
        "import time; time.sleep(0.3); from latentmd.sampling.run.clock import process_start; print(process_start())"
    )
    before = time.monotonic()
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=os.environ)
    assert before - 0.05 < float(found.stdout) < time.monotonic() - 0.3
    assert process_start() < time.monotonic()


def test_a_budget_counts_earlier_sessions(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "state" / "wall.json"
    first = Budget(path, 100.0, clock.now - 30.0)
    assert first.deadline.left == 70.0
    first.keep()
    second = Budget(path, 100.0, clock.now - 20.0)
    assert second.deadline.left == 50.0 and second.spent == 50.0 and second.session == 20.0
    assert Budget(path, None, clock.now).deadline.left == float("inf")
