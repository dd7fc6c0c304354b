"""Worker processes: results in order, messages, failures, interruption, also when workers die."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from latentmd.sampling.run.clock import Deadline
from latentmd.sampling.run.processes import LocalProcesses, WorkerError, cores


@dataclass(frozen=True)
class Evaluate:
    """A job that pickles by reference to the standard library: run(emit, stopped) is `exec` of a source text."""

    source: str

    def __reduce__(self) -> tuple[Any, ...]:
        script = f"type('Job', (), {{'run': staticmethod(lambda emit, stopped: exec({self.source!r}))}})()"
        return eval, (script,)

    def run(self, emit: Callable[..., None], stopped: Callable[[], bool]) -> None:
        raise NotImplementedError("runs in the worker")


def run_jobs(jobs: list[Evaluate], on_message: Callable[[dict[str, Any]], None]) -> None:
    with LocalProcesses(len(jobs)) as processes:
        processes.run_jobs(jobs, on_message)


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


def _interrupted() -> None:
    raise KeyboardInterrupt  # as a stopped thread of a data set does


@pytest.mark.parametrize("interrupt", [_interrupted, lambda: signal.raise_signal(signal.SIGINT)])
def test_an_interruption_loses_nothing_that_workers_have_sent(interrupt: Callable[[], None]) -> None:
    """A worker sends its messages at once, so that they lie in the pipe together when the first is taken."""
    source = "for n in range(50): emit('frames', n=n)\nimport time\nwhile not stopped(): time.sleep(0.01)"
    found: list[int] = []

    def take(message: dict[str, Any]) -> None:
        found.append(message["n"])
        if message["n"] == 0 and found.count(0) == 2:  # of both workers
            interrupt()

    with LocalProcesses(2) as processes:
        processes.run_jobs([Evaluate("emit('ready')")] * 2, lambda message: None)  # imports are done
        with pytest.raises(KeyboardInterrupt):
            processes.run_jobs([Evaluate(source)] * 2, take)
    assert sorted(found) == sorted([*range(50), *range(50)])


def test_jobs_end_at_their_deadline() -> None:
    source = "import time\nemit('ready')\nwhile not stopped():\n    time.sleep(0.01)\nemit('closed')"
    found: list[str] = []
    with LocalProcesses(2) as processes:
        processes.run_jobs([Evaluate("emit('ready')")] * 2, lambda message: None)  # imports are done
        deadline = Deadline(0.5)
        processes.run_jobs([Evaluate(source)] * 2, lambda message: found.append(message["kind"]), lambda: deadline.over)
    assert sorted(found) == ["closed", "closed", "ready", "ready"] and deadline.over


def test_workers_that_have_not_begun_at_the_deadline_are_no_failure() -> None:
    with LocalProcesses(2) as processes:
        processes.run_jobs([Evaluate("1/0")] * 2, lambda message: None, lambda: True)


def test_a_worker_that_prepares_beyond_the_deadline_is_ended() -> None:
    begun = time.monotonic()
    with LocalProcesses(1) as processes:
        processes.run_jobs([Evaluate("emit('ready')")], lambda message: None)
        deadline = Deadline(0.5)
        processes.run_jobs([Evaluate("import time; time.sleep(600)")], lambda message: None, lambda: deadline.over)
    assert time.monotonic() - begun < 300


def test_cores_is_at_least_one() -> None:
    assert cores() >= 1


def test_results_come_in_order_and_workers_are_used_again() -> None:
    with LocalProcesses(2) as tasks:
        assert list(tasks.map(math.factorial, list(range(20)))) == [math.factorial(n) for n in range(20)]
        first = set(tasks.map(lambda _: os.getpid(), range(6)))
        assert len(first) <= 2 and os.getpid() not in first
        assert set(tasks.map(lambda _: os.getpid(), range(6))) <= first


def test_an_exception_is_raised_here_and_the_rest_can_be_dropped() -> None:
    def fails(number: int) -> int:
        if number:
            raise KeyError(number)
        return number

    with LocalProcesses(2) as tasks:
        with pytest.raises(KeyError, match="1"):
            list(tasks.map(fails, [0, 1]))
        partial = tasks.map(math.factorial, [5, 6, 7])
        assert next(partial) == 120
        partial.close()
        assert list(tasks.map(math.factorial, [4])) == [24]


def test_what_cannot_be_pickled_is_told() -> None:
    with LocalProcesses(1) as tasks, pytest.raises(RuntimeError, match="pickle"):
        list(tasks.map(lambda _: (line for line in "ab"), [1]))


def test_a_task_whose_worker_dies_is_run_again(tmp_path: Path) -> None:
    # Functions within a function travel by value: a worker need not find this module.
    def dies_once(marker: str) -> str:
        path = Path(marker)
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return f"survived {path.name}"

    with LocalProcesses(2) as tasks:
        markers = [str(tmp_path / f"{i}") for i in range(3)]
        assert list(tasks.map(dies_once, markers)) == [f"survived {i}" for i in range(3)]


def test_a_task_that_always_kills_its_worker_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentmd.sampling.run.processes.RETRIES", 1)
    with LocalProcesses(1) as tasks, pytest.raises(WorkerError, match="status -9"):
        list(tasks.map(lambda number: os.kill(os.getpid(), number), [signal.SIGKILL]))


@pytest.mark.slow
def test_workers_that_die_while_they_start_are_replaced() -> None:
    def slow(number: int) -> int:
        time.sleep(0.5)
        return number

    def kill() -> None:
        """Kill all workers, old and new, for two seconds."""
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "latentmd.sampling.run.worker" in " ".join(child.cmdline()):
                        child.kill()
            time.sleep(0.05)

    with LocalProcesses(2) as tasks:
        results = tasks.map(slow, list(range(8)))
        assert next(results) == 0
        killer = threading.Thread(target=kill)
        killer.start()
        assert list(results) == list(range(1, 8))
        killer.join()
