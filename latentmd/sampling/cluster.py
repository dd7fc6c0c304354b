"""Tasks on the workers of a Dask cluster; needs the extra `latentmd[cluster]`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from latentmd.sampling.processes import RETRIES

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_CONNECTION = 20.0  # seconds that a scheduler gets to answer


class DaskScheduler:
    """A scheduler whose tasks run on a Dask cluster. Dask runs the task of a worker that dies again elsewhere.

    Args:
        client: a `distributed.Client`.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    def map(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> Iterator[Result]:
        """Results in the order of the arguments.

        Tasks not yet begun are dropped where the caller stops taking results.
        """
        futures = deque(self.client.map(function, arguments, pure=False, retries=RETRIES))
        try:
            while futures:
                yield futures[0].result()
                futures.popleft()
        finally:
            if futures:
                self.client.cancel(list(futures))


@contextmanager
def connect(address: str) -> Iterator[DaskScheduler]:
    """Connect to a running Dask scheduler.

    Args:
        address: of the scheduler, such as tcp://node:8786.

    Raises:
        ValueError: nothing answers there, or Dask is not installed.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise ValueError(
            f"--scheduler {address} needs Dask, which is not installed; pip install 'latentmd[cluster]', or leave "
            "--scheduler out to use the cores of this machine"
        ) from error
    package: Any = distributed  # without annotations
    quiet = {"distributed.scheduler.allowed-failures": RETRIES, "logging.distributed": "CRITICAL"}
    with dask.config.set(quiet):
        try:
            client = package.Client(address, timeout=_CONNECTION)
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0] if str(error) else "no message"
            raise ValueError(
                f"no Dask scheduler answers at {address!r} ({first}); start one with `dask scheduler`, and give its "
                "address as tcp://host:port"
            ) from error
        with client:
            yield DaskScheduler(client)
