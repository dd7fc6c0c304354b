"""How runs end: with a result, with an error, or by a signal that asks them to stop."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.io.folder import Policy, RunFiles, claim_folder
from latentmd.io.formats import ascii_path
from latentmd.io.provenance import read_provenance
from latentmd.model.file import package_version


@dataclass(frozen=True, repr=False)
class RunResult:
    """A run that ended: its folder, and the content of summary.json."""

    folder: Path
    summary: dict[str, Any]

    @property
    def status(self) -> str:
        """How it ended: "complete" or "converged", else "budget"."""
        return str(self.summary["status"])

    @property
    def topology(self) -> Path:
        """PDB file of the molecule as simulated."""
        return self.folder / "topology.pdb"

    @property
    def trajectories(self) -> list[Path]:
        """XTC files: one per walker, or the frames of all chains."""
        return [self.folder / self.summary["file"]] if "file" in self.summary else walker_files(self.folder)

    @property
    def page(self) -> Path | None:
        """HTML page with metrics or free energies and figures; None where the run left none."""
        pages = (self.folder / f"{name}.html" for name in ("evaluation", "free_energy", self.summary.get("run", "")))
        return next((page for page in pages if page.exists()), None)

    @property
    def failing(self) -> list[str]:
        """A line on frames that fail a check, where there are any."""
        count = self.summary["frames_failing_checks"]
        return [f"frames that fail a check: {count}; provenance.csv says which"] if count else []

    def provenance(self) -> dict[str, NDArray[Any]]:
        """Columns of provenance.csv, a row per frame: walker, time_ps, kind, potential_energy, checks_failed."""
        return read_provenance(self.folder / "provenance.csv")

    def load(self, walker: int = 0) -> Any:
        """The mdtraj trajectory of a walker."""
        import mdtraj

        with ascii_path(self.trajectories[walker]) as name:
            return mdtraj.load(name, top=str(self.topology))

    def __repr__(self) -> str:
        frames = int(np.sum(self.summary["frames"]))
        return f"RunResult({str(self.folder)!r}, mode {self.summary['mode']}, {self.status}, {frames} frames)"


def walker_files(folder: Path) -> list[Path]:
    """Trajectory files of walkers in the folder of a run, by walker."""
    return sorted(folder.glob("walker-*.xtc"))


def summary_head(run: str, status: str = "complete") -> dict[str, object]:
    """First entries of a summary: version, command line, how the run ended, and time."""
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    head: dict[str, object] = {"latentmd": package_version("latentmd"), "command": command, "run": run}
    return head | {"status": status, "created": datetime.now(UTC).isoformat(timespec="seconds")}


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


@contextmanager
def session(
    folder: Path, policy: Policy, files: RunFiles, request: Mapping[str, object]
) -> Iterator[Callable[[], bool]]:
    """Hold the folder of a run that goes on after signals; a function that says whether it was asked to stop."""
    with ExitStack() as held, stop_on_signals() as stop:
        try:
            held.enter_context(claim_folder(folder, policy, files, request))
            yield stop
        except BaseException as error:
            if stop() and not isinstance(error, RunInterrupted):
                raise Stopped(folder) from error
            raise
