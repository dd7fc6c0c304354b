"""Where the simulations of a hybrid run happen: in this process, or on a Dask cluster, with the same results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from latentmd.sampling.contracts import Scheduler, Serial

Argument = TypeVar("Argument")
Result = TypeVar("Result")

RETRIES = 20  # of a task whose worker died; a worker that is killed again and again is somebody's intention
_PATIENCE = 5.0  # seconds without a result after which the workers are looked at
_STANDSTILL = 30.0  # seconds without a worker after which others are started
_CONNECTION = 20.0  # seconds that a scheduler gets to answer


class DaskScheduler:
    """Tasks on the workers of a Dask cluster.

    A task follows from its arguments alone, so results depend neither on the number of workers nor on which of them
    dies: Dask runs a lost task again elsewhere.

    Args:
        client: a `distributed.Client`.
        revive: called now and then while nothing comes; starts workers where there are none.
    """

    def __init__(self, client: Any, revive: Callable[[], None] = lambda: None) -> None:
        self.client, self.revive = client, revive

    def map(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> Iterator[Result]:
        """Results in the order of the arguments.

        Tasks not yet begun are dropped where the caller stops taking results.
        """
        futures = deque(self.client.map(function, arguments, pure=False, retries=RETRIES))
        try:
            while futures:
                self._wait(futures[0])
                yield futures[0].result()
                futures.popleft()
        finally:
            if futures:
                self.client.cancel(list(futures))

    def _wait(self, future: Any) -> None:
        import distributed

        package: Any = distributed  # without annotations
        while not future.done():
            try:
                package.wait(future, timeout=_PATIENCE)
            except TimeoutError:
                self.revive()


@contextmanager
def scheduler(address: str | None, processes: int) -> Iterator[Scheduler]:
    """A scheduler for a run.

    Args:
        address: of a running Dask scheduler, such as tcp://node:8786; None for this machine.
        processes: worker processes on this machine; one runs everything in this process, without Dask.

    Raises:
        ValueError: nothing answers at the address.
    """
    if address is None and processes == 1:
        yield Serial()
        return
    import dask
    import distributed

    package: Any = distributed  # without annotations
    quiet = {
        "distributed.scheduler.allowed-failures": RETRIES,
        "logging.distributed": "CRITICAL",
    }
    with dask.config.set(quiet):
        if address is not None:
            yield from _connected(package.Client, address)
            return
        cluster = package.LocalCluster(
            n_workers=processes, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
        )
        with cluster, package.Client(cluster) as client:
            seen = time.monotonic()

            def revive() -> None:
                # A worker that dies while it starts is given up by its nanny; with the last one all would stand still.
                nonlocal seen
                if client.scheduler_info()["workers"]:
                    seen = time.monotonic()
                elif time.monotonic() - seen > _STANDSTILL:  # not while they are starting
                    cluster.scale(0)
                    cluster.scale(processes)
                    seen = time.monotonic()

            yield DaskScheduler(client, revive)


def _connected(client_type: Any, address: str) -> Iterator[Scheduler]:
    try:
        client = client_type(address, timeout=_CONNECTION)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no Dask scheduler answers at {address!r} ({str(error).splitlines()[0] if str(error) else 'no message'}); "
            "start one with `dask scheduler`, and give its address as tcp://host:port"
        ) from error
    with client:
        yield DaskScheduler(client)
