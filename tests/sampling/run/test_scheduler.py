"""Choice of a scheduler."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from latentmd.sampling.run.processes import LocalProcesses
from latentmd.sampling.run.scheduler import DaskScheduler, Serial, open_scheduler


def test_one_process_runs_everything_here() -> None:
    with open_scheduler(None, 1) as tasks:
        assert isinstance(tasks, Serial) and tasks.count == 1
        assert list(tasks.map(math.factorial, [3, 1, 2])) == [6, 1, 2]


def test_several_processes_give_the_same_results() -> None:
    with open_scheduler(None, 2) as tasks:
        assert isinstance(tasks, LocalProcesses) and tasks.count == 2
        assert list(tasks.map(math.factorial, [3, 1, 2])) == [6, 1, 2]


@pytest.mark.slow
def test_a_cluster_gives_results_in_order_and_raises_here() -> None:
    import distributed

    package: Any = distributed

    def fails(number: int) -> int:
        raise KeyError(number)

    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": ":0", "silence_logs": "CRITICAL"}
    with package.LocalCluster(processes=False, **options) as cluster:
        with open_scheduler(cluster.scheduler_address, 1) as tasks:
            assert isinstance(tasks, DaskScheduler) and tasks.count == 2
            assert list(tasks.map(math.factorial, list(range(20)))) == [math.factorial(n) for n in range(20)]
            partial = tasks.map(math.factorial, [5, 6, 7])
            assert next(partial) == 120
            del partial
            with pytest.raises(KeyError):
                list(tasks.map(fails, [1]))


def test_an_address_where_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentmd.sampling.run.scheduler._CONNECTION", 0.5)
    with (
        pytest.raises(ValueError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:1'"),
        open_scheduler("tcp://127.0.0.1:1", 1),
    ):
        pass


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"pip install 'latentmd\[cluster\]'"), open_scheduler("tcp://host:8786", 1):
        pass
