"""Errors of runs that failed or were stopped."""

from __future__ import annotations

from pathlib import Path


class RunError(RuntimeError):
    """A run that failed; the message says why, and what was kept."""


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C during a run; everything written so far is readable.

    Args:
        folder: of the run.
        frames: how many are in it.
    """

    def __init__(self, folder: Path, frames: int) -> None:
        super().__init__(f"stopped; {frames} frames are in {folder}")


class Stopped(RunInterrupted):
    """A run that was asked to stop, and did after its last checkpoint; `resume` goes on.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        KeyboardInterrupt.__init__(self, f"stopped; run the same line with --resume to go on ({folder})")
