"""Worker processes: messages, failures, interruption."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from latentmd.sampling import workers
from latentmd.sampling.workers import WorkerError, run_jobs, share


@dataclass(frozen=True)
class Evaluate:
    """A job that pickles by reference to the standard library: run(emit, stopped) is `exec` of a source text."""

    source: str

    def __reduce__(self) -> tuple[Any, ...]:
        script = f"type('Job', (), {{'run': staticmethod(lambda emit, stopped: exec({self.source!r}))}})()"
        return eval, (script,)

    def run(self, emit: Callable[..., None], stopped: Callable[[], bool]) -> None:
        raise NotImplementedError("runs in the worker")


def test_walkers_are_dealt_out() -> None:
    assert share(5, 2) == [[0, 2, 4], [1, 3]]
    assert share(2, 8) == [[0], [1]]


def test_messages_arrive_and_prints_do_not_get_between() -> None:
    source = "print('noise')\nemit('frames', n=1)\nimport os; os.write(1, b'more noise')\nemit('frames', n=2)"
    found: list[Any] = []
    run_jobs([Evaluate(source), Evaluate(source)], found.append)
    assert sorted(message["n"] for message in found) == [1, 1, 2, 2]


def test_a_failing_worker_stops_the_others() -> None:
    slow = "import time\nfor i in range(600):\n    time.sleep(0.05)\n    emit('tick')\n    if stopped(): break"
    with pytest.raises(WorkerError, match=r"walker-0000\.xtc: disk"):
        run_jobs([Evaluate(slow), Evaluate("raise OSError('walker-0000.xtc: disk')")], lambda message: None)


@pytest.mark.parametrize(
    ("source", "text"),
    [("raise KeyError('x')", "KeyError"), ("import os; os._exit(7)", "status 7"), ("1/0", "ZeroDivisionError")],
)
def test_failures_are_told(source: str, text: str) -> None:
    with pytest.raises(WorkerError, match=text):
        run_jobs([Evaluate(source)], lambda message: None)


def test_interruption_lets_workers_finish() -> None:
    source = "import time\nemit('ready')\nwhile not stopped():\n    time.sleep(0.01)\nemit('closed')"
    found: list[str] = []

    def take(message: dict[str, Any]) -> None:
        found.append(message["kind"])
        if message["kind"] == "ready":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_jobs([Evaluate(source)], take)
    assert found == ["ready", "closed"]


def test_cores_is_at_least_one() -> None:
    assert workers.cores() >= 1
