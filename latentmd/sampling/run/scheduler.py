"""Schedulers: run tasks in this process, in processes of this machine or on a Dask cluster, with equal results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

from latentmd.sampling.run.processes import RETRIES, Argument, LocalProcesses, Result

_CONNECTION = 20.0  # seconds that a scheduler gets to answer


class DaskScheduler:
    """A scheduler whose tasks run on a Dask cluster, in threads of its workers or `alone` in processes of their own.

    Dask runs the task of a worker that dies again elsewhere.
    """

    def __init__(self, client: Any, alone: bool) -> None:
        self.client, self.alone = client, alone

    @property
    def count(self) -> int:
        """How many tasks the cluster runs side by side."""
        return max(1, sum(int(threads) for threads in self.client.nthreads().values()))

    def map(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> Iterator[Result]:
        """Results in the order of the arguments.

        Tasks not yet begun are dropped where the caller stops taking results.
        """
        work = partial(_alone, function) if self.alone else function
        futures = deque(self.client.map(work, arguments, pure=False, retries=RETRIES))
        try:
            while futures:
                yield futures[0].result()
                futures.popleft()
        finally:
            if futures:
                self.client.cancel(list(futures))


def _alone(function: Callable[[Argument], Result], argument: Argument) -> Result:
    """A result from a process of its own: threads of a worker draw from the same global random numbers."""
    with LocalProcesses(1) as processes:
        return next(processes.map(function, [argument]))


class Scheduler(Protocol):
    """Runs tasks somewhere; results must not depend on where."""

    @property
    def count(self) -> int:
        """How many tasks run side by side."""

    def map(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> Iterator[Result]:
        """Results in the order of the arguments, each as soon as it and all before it are there.

        Functions and arguments are picklable. A task whose worker dies is run again; an exception is raised here.
        """


class Serial:
    """A scheduler that runs tasks one after another in this process, each once its result is asked for."""

    count = 1
    map = staticmethod(map)


@contextmanager
def open_scheduler(address: str | None, processes: int, alone: bool = False) -> Iterator[Scheduler]:
    """A scheduler for a run: Dask's at an address such as tcp://node:8786, or this machine's.

    One process runs everything in this one, unless tasks are to run `alone`, with no other in their process. ValueError
    where nothing answers, or Dask is not installed.
    """
    if address is None:
        serial = processes == 1 and not alone
        here: AbstractContextManager[Scheduler] = nullcontext(Serial()) if serial else LocalProcesses(processes)
        with here as tasks:
            yield tasks
        return
    try:
        import dask
        import distributed
    except ImportError as error:
        raise ValueError(
            f"--scheduler {address} needs Dask, which is not installed; pip install 'latentmd[cluster]', or leave "
            "--scheduler out to use the cores of this machine"
        ) from error
    package: Any = distributed  # without annotations
    with dask.config.set({"distributed.scheduler.allowed-failures": RETRIES, "logging.distributed": "CRITICAL"}):
        try:
            client = package.Client(address, timeout=_CONNECTION)
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0] if str(error) else "no message"
            raise ValueError(
                f"no Dask scheduler answers at {address!r} ({first}); start one with `dask scheduler`, and give its "
                "address as tcp://host:port"
            ) from error
        with client:
            yield DaskScheduler(client, alone)
