"""Worker processes of this machine: tasks by order, and jobs that report while they run."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any, Protocol, TypeVar

import cloudpickle

from latentmd import interpreter
from latentmd.sampling.run.worker import Reply

Argument = TypeVar("Argument")
Result = TypeVar("Result")
#: Time in ps, kind, potential energy in kJ/mol and failed checks of a frame.
Row = tuple[float, str, float, str]
Emit = Callable[..., None]
Take = Callable[[dict[str, Any]], None]

RETRIES = 20  # resubmissions of a task whose worker died; more deaths mean that someone is stopping the workers
_PATIENCE = 20.0  # seconds that workers get to finish the frame they are at
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds before a dead worker is replaced, doubled with every death in a row
_GRACE = 2.0  # seconds that workers without a message get to end once the time is over
_POLL = 0.2  # seconds between looks at the clock while nothing comes


class WorkerError(RuntimeError):
    """Failure of a worker process, with the worker's own message."""


class Job(Protocol):
    """Picklable work of one process that reports while it runs."""

    def run(self, emit: Emit, stopped: Callable[[], bool]) -> None:
        """Do the work, report with emit(kind, **values) and end early once stopped() is true."""


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalProcesses(AbstractContextManager["LocalProcesses"]):
    """A scheduler whose tasks run in `count` processes of this machine, one core each; use it as a context manager.

    A task follows from its arguments alone, so results depend neither on the number of processes nor on which of them
    dies: a lost task is run again in another one.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._workers: list[_Worker] = []
        self._deaths, self._not_before = 0, 0.0

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.close()
        self._workers = []

    def map(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> Iterator[Result]:
        """Results in the order of the arguments; WorkerError for a task whose worker died again and again.

        Functions are pickled by value where they are not found by import. Tasks not yet done are dropped where the
        caller stops taking results.
        """
        queue = _Queue(function, arguments)
        try:
            for number in range(len(arguments)):
                while number not in queue.done:
                    self._start(queue.unfinished)
                    queue.hand_out([worker for worker in self._workers if worker not in queue.running])
                    for worker in self._ready(list(queue.running)):
                        if (reply := worker.read()) is None:
                            self._bury(worker)
                            queue.take_back(worker)
                        else:
                            self._deaths = 0
                            queue.take(worker, reply)
                yield queue.done.pop(number)
        finally:
            for worker in queue.running:
                self._workers.remove(worker)
                worker.close()

    def run_jobs(self, jobs: Sequence[Job], on_message: Take, over: Callable[[], bool] = lambda: False) -> None:
        """Run jobs in one process each, as many as there are at most, and hand on their messages, dicts with "kind".

        Once `over`, asked a few times a second, is true, jobs are asked to end after the frame that they are at. Where
        a worker fails the others are stopped, and WorkerError is raised; after Ctrl-C all have closed their files.
        """
        self._start(len(jobs))
        working = list(self._workers[: len(jobs)])
        ending, heard = float("inf"), set[_Worker]()
        try:
            for worker, job in zip(working, jobs, strict=True):
                worker.send("job", cloudpickle.dumps(job))
            while working:
                if ending == float("inf") and over():
                    ending = time.monotonic()
                    for worker in working:
                        worker.stop()
                for worker in self._ready(working):
                    with _undisturbed():
                        reply = worker.read()
                        if reply is None and ending < float("inf"):  # it had not even begun to listen
                            working.remove(worker)
                            continue
                        heard.add(worker)
                        _take_job(worker, reply, working, on_message)
                if time.monotonic() > ending + _GRACE:
                    for worker in [worker for worker in working if worker not in heard]:  # it has written nothing yet
                        worker.kill()
                        working.remove(worker)
        except BaseException:
            for worker in working:
                worker.stop()
            for worker in working:
                _drain(worker, on_message)
            raise

    def _start(self, tasks: int) -> None:
        """Start processes up to the number wanted, unless some died just now."""
        while len(self._workers) < min(self.count, tasks) and time.monotonic() >= self._not_before:
            self._workers.append(_Worker())

    def _ready(self, workers: Sequence[_Worker]) -> list[_Worker]:
        """Workers that have sent something or ended; empty where nothing came for a while."""
        if not workers:
            time.sleep(max(0.0, min(_POLL, self._not_before - time.monotonic())))
            return []
        ready = wait([worker.pipe for worker in workers], _POLL)
        return [worker for worker in workers if worker.pipe in ready]

    def _bury(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.ending = worker.describe_end()
        worker.close()
        self._not_before = time.monotonic() + min(_FIRST_PAUSE * 2**self._deaths, _LONGEST_PAUSE)
        self._deaths += 1


class _Queue:
    """Tasks of a `map`: waiting, running on a worker, or done."""

    def __init__(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> None:
        self.function, self.arguments = function, arguments
        self.waiting = deque(range(len(arguments)))
        self.running: dict[_Worker, int] = {}
        self.done: dict[int, Any] = {}
        self.deaths: Counter[int] = Counter()

    @property
    def unfinished(self) -> int:
        return len(self.waiting) + len(self.running)

    def hand_out(self, idle: Sequence[_Worker]) -> None:
        """Give waiting tasks to idle workers."""
        for worker in idle[: len(self.waiting)]:
            self.running[worker] = self.waiting.popleft()
            worker.send("call", cloudpickle.dumps((self.function, self.arguments[self.running[worker]])))

    def take(self, worker: _Worker, reply: Reply) -> None:
        """Keep a result, or raise the exception of a task."""
        task, (kind, value) = self.running.pop(worker), reply
        if kind == "error":
            raise value
        self.done[task] = value

    def take_back(self, worker: _Worker) -> None:
        """Queue the task of a dead worker again, unless it has killed too many."""
        if worker not in self.running:
            return
        task = self.running.pop(worker)
        self.deaths[task] += 1
        if self.deaths[task] > RETRIES:
            raise WorkerError(worker.ending)
        self.waiting.appendleft(task)


class _Worker:
    """A process, a pipe to it, and a file of what it and its libraries print."""

    def __init__(self) -> None:
        self.errors, (self.pipe, theirs) = tempfile.TemporaryFile(), Pipe()
        command = interpreter.command("-m", "latentmd.sampling.run.worker", str(theirs.fileno()))
        alone = interpreter.environment(OMP_NUM_THREADS="1", OPENMM_CPU_THREADS="1", PYTHONUNBUFFERED="1")
        nothing, shown = subprocess.DEVNULL, self.errors
        with theirs:
            self.process = subprocess.Popen(
                command, stdin=nothing, stdout=shown, stderr=shown, env=alone, pass_fds=[theirs.fileno()]
            )
        self.ending = ""

    def send(self, kind: str, content: bytes) -> None:
        """Send a task; a worker that is dead is found out when it is listened to."""
        with suppress(OSError):
            self.pipe.send((kind, content))

    def read(self) -> Reply | None:
        """The next reply, waited for; None where the worker has ended."""
        try:
            reply: Reply = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return reply

    def describe_end(self) -> str:
        """How a dead worker ended: its status and the last line that it wrote."""
        code = self.process.wait()
        self.errors.seek(0)
        tail = self.errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        return f"a worker process ended with status {code}: {tail[0]}"

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.kill()
        self.pipe.close()
        self.errors.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait, so that what a worker sent is taken whole and nothing of it is lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _take_job(worker: _Worker, reply: Reply | None, working: list[_Worker], on_message: Take) -> None:
    """Pass on a message of a job; remove its worker from the working ones once the job has ended."""
    kind, value = reply or ("end", {})
    if kind == "message":
        return on_message(value)
    working.remove(worker)
    if kind == "end":
        raise WorkerError(worker.describe_end())
    if kind == "error":
        text = str(value).strip() or type(value).__name__
        raise WorkerError(text if isinstance(value, (OSError, ValueError)) else f"{type(value).__name__}: {text}")


def _drain(worker: _Worker, on_message: Take) -> None:
    """Collect what a stopping worker still reports, so that provenance matches the frames that it wrote."""
    until = time.monotonic() + _PATIENCE
    while worker.pipe.poll(max(0.0, until - time.monotonic())):
        kind, value = worker.read() or ("end", {})
        if kind != "message":
            return
        on_message(value)
