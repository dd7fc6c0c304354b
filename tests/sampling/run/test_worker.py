"""Replies of a worker: whole, in order, and also where they cannot be pickled."""

from __future__ import annotations

import pickle
import subprocess
from multiprocessing import Pipe
from typing import Any

import cloudpickle
import pytest

from latentmd import interpreter
from latentmd.sampling.run.worker import _do, reply_bytes


def _answered(function: Any, argument: Any) -> Any:
    """The one reply to a call."""
    ours, theirs = Pipe()
    _do("call", cloudpickle.dumps((function, argument)), theirs, [False])  # type: ignore[arg-type]
    theirs.close()
    reply = ours.recv()
    with pytest.raises(EOFError):
        ours.recv()
    return reply


def test_a_call_is_answered_once() -> None:
    assert _answered(sum, [1, 2, 3]) == ("result", 6)


def test_an_error_comes_back_as_it_was_raised() -> None:
    kind, error = _answered(int, "x")
    assert kind == "error" and isinstance(error, ValueError) and "'x'" in str(error)


def test_what_cannot_be_pickled_becomes_an_error() -> None:
    kind, error = pickle.loads(reply_bytes(("result", (x for x in "ab"))))
    assert kind == "error" and "pickle" in str(error)


def test_a_worker_prints_nothing_into_the_pipe_and_ends_with_it() -> None:
    ours, theirs = Pipe()
    command = interpreter.command("-m", "latentmd.sampling.run.worker", str(theirs.fileno()))
    with theirs, ours:
        process = subprocess.Popen(
            command, env=interpreter.environment(), pass_fds=[theirs.fileno()], stdout=subprocess.PIPE
        )
        ours.send(("call", cloudpickle.dumps((print, "noise"))))
        assert ours.recv() == ("result", None)
    assert process.communicate(timeout=60)[0].strip() in (b"", b"noise") and process.returncode == 0
