"""Replies of a worker: whole, in order, and also where they cannot be pickled."""

from __future__ import annotations

import io
import pickle

import cloudpickle
import pytest

from latentmd.sampling.run.worker import HEADER, _do, _next, reply_bytes


class Half:
    """Sends what a task replies to a list."""

    def __init__(self) -> None:
        self.replies: list[object] = []

    def write(self, data: bytes) -> None:
        (length,) = HEADER.unpack_from(data)
        assert len(data) == HEADER.size + length
        self.replies.append(pickle.loads(data[HEADER.size :]))

    def flush(self) -> None:
        """Nothing is buffered."""


def test_a_call_is_answered_once() -> None:
    out = Half()
    _do("call", cloudpickle.dumps((sum, [1, 2, 3])), out, [False])  # type: ignore[arg-type]
    assert out.replies == [("result", 6)]


def test_an_error_comes_back_as_it_was_raised() -> None:
    out = Half()
    _do("call", cloudpickle.dumps((int, "x")), out, [False])  # type: ignore[arg-type]
    kind, error = out.replies[0]  # type: ignore[misc]
    assert kind == "error" and isinstance(error, ValueError) and "'x'" in str(error)


def test_what_cannot_be_pickled_becomes_an_error() -> None:
    data = reply_bytes(("result", (x for x in "ab")))
    kind, error = pickle.loads(data[HEADER.size :])
    assert kind == "error" and "pickle" in str(error)


def test_the_end_of_the_input_ends_the_work() -> None:
    stream = io.BytesIO(pickle.dumps(("call", b"a")) + pickle.dumps(("job", b"b")))
    assert [_next(stream) for _ in range(3)] == [("call", b"a"), ("job", b"b"), None]
    with pytest.raises(pickle.UnpicklingError):
        _next(io.BytesIO(b"not a pickle"))
