"""Choice of a scheduler."""

from __future__ import annotations

import math

from latentmd.sampling.processes import LocalProcesses
from latentmd.sampling.scheduler import Serial, open_scheduler


def test_one_process_runs_everything_here() -> None:
    with open_scheduler(None, 1) as tasks:
        assert isinstance(tasks, Serial)
        assert list(tasks.map(math.factorial, [3, 1, 2])) == [6, 1, 2]


def test_several_processes_give_the_same_results() -> None:
    with open_scheduler(None, 2) as tasks:
        assert isinstance(tasks, LocalProcesses)
        assert list(tasks.map(math.factorial, [3, 1, 2])) == [6, 1, 2]
