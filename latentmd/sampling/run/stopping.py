"""How runs end before their time: errors, and signals that ask a run to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class RunError(RuntimeError):
    """A run that failed; the message says why, and what was kept."""


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C during a run; everything written so far is readable."""

    def __init__(self, folder: Path, frames: int) -> None:
        super().__init__(f"stopped; {frames} frames are in {folder}")


class Stopped(RunInterrupted):
    """A run that was asked to stop, and did after its last checkpoint; `resume` goes on."""

    def __init__(self, folder: Path) -> None:
        KeyboardInterrupt.__init__(self, f"stopped; run the same line with --resume to go on ({folder})")


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """A function that says whether SIGTERM (preemption) or SIGINT asked to stop; a second signal stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
