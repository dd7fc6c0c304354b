"""A worker process: takes tasks from a pipe, and sends messages, results and errors back through it.

Run as `python -m latentmd.sampling.run.worker FILE_DESCRIPTOR`, not as a multiprocessing child, so that
`latentmd.simulate` works in notebooks and in scripts without an `if __name__ == "__main__"` guard.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any, Literal

import cloudpickle

_LOOK = 0.2  # seconds between looks at whether the parent is alive
Reply = tuple[Literal["message", "result", "error"], Any]


def reply_bytes(reply: Reply) -> bytes:
    """A reply as it goes through the pipe."""
    try:
        return bytes(cloudpickle.dumps(reply))
    except Exception as error:  # an exception or a result that cannot be pickled
        return pickle.dumps(("error", RuntimeError(f"{type(error).__name__}: {error} (of {reply[1]!r})")))


def main(pipe: Connection) -> int:
    """Work until the other end of the pipe is closed."""
    stop = [False]

    def request_stop(*_: object) -> None:
        stop[0] = True

    signal.signal(signal.SIGINT, request_stop)
    signal.signal(signal.SIGTERM, request_stop)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    if hasattr(signal, "SIGXFSZ"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file-size limit is then an error to report, not the end
    try:
        while True:
            kind, content = pipe.recv()
            _do(kind, content, pipe, stop)
    except EOFError:
        return 0
    except (BrokenPipeError, ConnectionResetError):
        return 1


def _end_with_parent(parent: int) -> None:
    """End this process, in the middle of its task, soon after the one that started it has been killed."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def _do(kind: str, content: bytes, pipe: Connection, stop: list[bool]) -> None:
    """Do one "call" of (function, argument) or "job", whose pickle is loaded here to report its errors."""

    def send(reply: Reply) -> None:
        pipe.send_bytes(reply_bytes(reply))

    def emit(kind: str, **values: Any) -> None:
        send(("message", {"kind": kind, **values}))

    try:
        work = pickle.loads(content)
        if kind == "call":
            result = work[0](work[1])
        else:
            result = None if stop[0] else work.run(emit, lambda: stop[0])
    except BrokenPipeError:
        raise
    except Exception as error:
        send(("error", error))
    else:
        send(("result", result))


if __name__ == "__main__":
    os._exit(main(Connection(int(sys.argv[1]))))
