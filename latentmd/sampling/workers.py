"""Walkers in parallel processes: jobs go in pickled, progress comes back as JSON lines.

Workers are `python -m latentmd.sampling.workers`, not multiprocessing children, so that `latentmd.simulate` works in
notebooks and in scripts without an `if __name__ == "__main__"` guard.
"""

from __future__ import annotations

import json
import os
import pickle
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, Protocol

Row = tuple[float, str, float, str]
Emit = Callable[..., None]

_PATIENCE = 20.0  # seconds that workers get to finish the frame they are at


class WorkerError(RuntimeError):
    """A worker that failed; the message is its own."""


class Job(Protocol):
    """Picklable work of one process."""

    def run(self, emit: Emit, stopped: Callable[[], bool]) -> None:
        """Do the work, report with emit(kind, **values) and end early once stopped() is true."""
        ...


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(jobs: Sequence[Job], on_message: Callable[[dict[str, Any]], None]) -> None:
    """Run jobs in one process each and hand their messages on as they come.

    Args:
        jobs: one per process.
        on_message: called with every message, a dict with "kind".

    Raises:
        WorkerError: a worker failed; the others are stopped.
        KeyboardInterrupt: Ctrl-C; every worker has closed its files.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENMM_CPU_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    workers = [_Worker(job, environment) for job in jobs]
    try:
        _listen(workers, on_message)
    except BaseException:
        for worker in workers:
            worker.stop()
        _drain(workers, on_message)
        raise
    finally:
        for worker in workers:
            worker.close()


class _Worker:
    def __init__(self, job: Job, environment: dict[str, str]) -> None:
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "latentmd.sampling.workers"],  # -P: not a checkout that the user may stand in
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
        )
        assert self.process.stdin is not None
        try:
            pickle.dump(job, self.process.stdin)
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it died at once; its exit status and stderr say why
        self.rest = b""
        self.failure: str | None = None

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """Messages that have arrived, and whether more can come."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        *lines, self.rest = (self.rest + data).split(b"\n")
        messages = [json.loads(line) for line in lines]
        for message in messages:
            if message["kind"] == "error":
                self.failure = message["message"]
        return [message for message in messages if message["kind"] != "error"], bool(data)

    def outcome(self) -> None:
        code = self.process.wait()
        if self.failure is None and code != 0:
            self.errors.seek(0)
            tail = self.errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            self.failure = f"a worker process ended with status {code}: {tail[0]}"
        if self.failure is not None:
            raise WorkerError(self.failure)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.errors.close()


def _listen(workers: Sequence[_Worker], on_message: Callable[[dict[str, Any]], None]) -> None:
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
        while selector.get_map():
            for key, _ in selector.select():
                messages, open_ = key.data.read()
                for message in messages:
                    on_message(message)
                if not open_:
                    selector.unregister(key.fileobj)
                    key.data.outcome()


def _drain(workers: Sequence[_Worker], on_message: Callable[[dict[str, Any]], None]) -> None:
    """Take in what stopping workers still report, so that provenance matches the frames they wrote."""
    for worker in workers:
        try:
            while True:
                messages, open_ = worker.read()
                for message in messages:
                    on_message(message)
                if not open_:
                    worker.process.wait(_PATIENCE)
                    break
        except (OSError, ValueError, subprocess.TimeoutExpired):
            continue


def share(walkers: int, processes: int) -> list[list[int]]:
    """Walker numbers dealt out to processes.

    Example:
        >>> share(5, 2)
        [[0, 2, 4], [1, 3]]
    """
    return [list(range(first, walkers, processes)) for first in range(min(walkers, processes))]


def main() -> int:
    """Entry point of a worker process."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print must not get between the messages
    stop = False

    def request_stop(*_: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, request_stop)
    signal.signal(signal.SIGTERM, request_stop)
    if hasattr(signal, "SIGXFSZ"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file-size limit is then an error to report, not the end

    def emit(kind: str, **values: Any) -> None:
        out.write(json.dumps({"kind": kind, **values}) + "\n")
        out.flush()

    try:
        pickle.load(sys.stdin.buffer).run(emit, lambda: stop)
    except BrokenPipeError:
        return 1
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        known = isinstance(error, (OSError, ValueError))
        emit("error", message=text if known else f"{type(error).__name__}: {text}")
        return 1
    return 0


if __name__ == "__main__":
    os._exit(main())
