"""Tasks on Dask: results in order, whoever computes them, and also when workers die."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from latentmd.sampling.contracts import Serial
from latentmd.sampling.scheduler import scheduler


def test_one_process_needs_no_cluster() -> None:
    with scheduler(None, 1) as tasks:
        assert isinstance(tasks, Serial)
        assert list(tasks.map(math.factorial, [3, 1, 2])) == [6, 1, 2]


@pytest.mark.slow
def test_a_cluster_gives_results_in_order_and_survives_its_workers(tmp_path: Path) -> None:
    # Functions within a function travel by value: a worker need not find this module.
    def dies_once(marker: str) -> str:
        path = Path(marker)
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return f"survived {path.name}"

    def fails(number: int) -> int:
        raise KeyError(number)

    with scheduler(None, 2) as tasks:
        assert list(tasks.map(math.factorial, list(range(20)))) == [math.factorial(n) for n in range(20)]
        markers = [str(tmp_path / f"{i}") for i in range(3)]
        assert list(tasks.map(dies_once, markers)) == [f"survived {i}" for i in range(3)]
        partial = tasks.map(math.factorial, [5, 6, 7])
        assert next(partial) == 120
        del partial
        with pytest.raises(KeyError):
            list(tasks.map(fails, [1]))


@pytest.mark.slow
def test_workers_that_die_while_they_start_are_replaced() -> None:
    def slow(number: int) -> int:
        import time

        time.sleep(0.5)
        return number

    def kill() -> None:
        """All processes of workers, old and new, for three seconds."""
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "spawn_main" in " ".join(child.cmdline()):
                        child.kill()
            time.sleep(0.05)

    with scheduler(None, 2) as tasks:
        results = tasks.map(slow, list(range(12)))
        assert next(results) == 0
        kill()
        assert list(results) == list(range(1, 12))


def test_an_address_where_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentmd.sampling.scheduler._CONNECTION", 0.5)
    with (
        pytest.raises(ValueError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:1'"),
        scheduler("tcp://127.0.0.1:1", 1),
    ):
        pass
