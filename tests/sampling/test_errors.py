"""Ends of a run: what is said, and that Ctrl-C stays Ctrl-C."""

from __future__ import annotations

from pathlib import Path

from latentmd.sampling.errors import RunInterrupted, Stopped


def test_an_interrupted_run_says_what_is_there() -> None:
    assert str(RunInterrupted(Path("run"), 7)) == "stopped; 7 frames are in run"
    assert isinstance(RunInterrupted(Path("run"), 7), KeyboardInterrupt)


def test_a_stopped_run_says_how_to_go_on() -> None:
    assert "--resume to go on (run)" in str(Stopped(Path("run"))) and isinstance(Stopped(Path("run")), RunInterrupted)
