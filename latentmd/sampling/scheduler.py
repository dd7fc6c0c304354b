"""Schedulers: run tasks in this process, in processes of this machine or on a Dask cluster, with equal results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

from latentmd.sampling.processes import LocalProcesses

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Scheduler(Protocol):
    """Runs tasks somewhere; results must not depend on where."""

    def map(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> Iterator[Result]:
        """Results in the order of the arguments, each as soon as it and all before it are there.

        Functions and arguments are picklable. A task whose worker dies is run again; an exception is raised here.
        """
        ...


class Serial:
    """A scheduler that runs tasks one after another in this process."""

    def map(self, function: Callable[[Argument], Result], arguments: Iterable[Argument]) -> Iterator[Result]:
        """Results in the order of the arguments."""
        for argument in arguments:
            yield function(argument)


def open_scheduler(address: str | None, processes: int) -> AbstractContextManager[Scheduler]:
    """A scheduler for a run, as a context manager.

    Args:
        address: of a running Dask scheduler, such as tcp://node:8786; None for this machine.
        processes: worker processes on this machine; one runs everything in this process.

    Raises:
        ValueError: nothing answers at the address, or Dask is not installed.
    """
    if address is not None:
        from latentmd.sampling.cluster import connect

        return connect(address)
    return nullcontext(Serial()) if processes == 1 else LocalProcesses(processes)
