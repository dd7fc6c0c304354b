"""How runs end: what a result knows, whichever kind of run it was, and signals that ask for the end."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from latentmd.sampling.run.stopping import RunInterrupted, RunResult, Stopped, stop_on_signals


def test_a_result_of_chains_finds_its_files(tmp_path: Path) -> None:
    summary = {"file": "metropolised.xtc", "frames": 12, "status": "converged", "mode": "chains"}
    found = RunResult(tmp_path, summary)
    assert found.trajectories == [tmp_path / "metropolised.xtc"] and found.topology.name == "topology.pdb"
    assert found.page is None and found.status == "converged" and "converged, 12 frames" in repr(found)
    (tmp_path / "free_energy.html").write_text("page")
    assert found.page == tmp_path / "free_energy.html"


def test_a_result_of_walkers_finds_their_files_in_order(tmp_path: Path) -> None:
    for name in ("walker-0001.xtc", "walker-0000.xtc", "evaluation.html"):
        (tmp_path / name).touch()
    found = RunResult(tmp_path, {"frames": [3, 4], "status": "complete", "mode": "md"})
    assert [path.name for path in found.trajectories] == ["walker-0000.xtc", "walker-0001.xtc"]
    assert found.page == tmp_path / "evaluation.html" and "mode md, complete, 7 frames" in repr(found)


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
