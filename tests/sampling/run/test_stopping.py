"""Ends of a run: what is said, and that Ctrl-C stays Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from latentmd.sampling.run.stopping import RunInterrupted, Stopped, stop_on_signals


def test_an_interrupted_run_says_what_is_there() -> None:
    assert str(RunInterrupted(Path("run"), 7)) == "stopped; 7 frames are in run"
    assert isinstance(RunInterrupted(Path("run"), 7), KeyboardInterrupt)


def test_a_stopped_run_says_how_to_go_on() -> None:
    assert "--resume to go on (run)" in str(Stopped(Path("run"))) and isinstance(Stopped(Path("run")), RunInterrupted)


def test_a_first_signal_asks_and_a_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_leave_signals_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with stop_on_signals() as stop:
            seen.append((stop(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
