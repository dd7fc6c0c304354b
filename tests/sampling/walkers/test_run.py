"""Execution of a plan: outputs of a finished run, and what is left of failed and interrupted ones."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.sampling.run.stopping import RunError, RunInterrupted
from latentmd.sampling.walkers.folder import State
from latentmd.sampling.walkers.jobs import WalkerJob
from latentmd.sampling.walkers.plan import RolloutPlan
from latentmd.sampling.walkers.run import execute


@dataclass(frozen=True)
class StillJob(WalkerJob):
    """Writes the minimised structure again and again, and ends "well", "half" done, "failing", "badly" or "by hand"."""

    ends: str = "well"

    def run(self, emit: Any, stopped: Any) -> None:
        end = self.settings.frames // 2 if self.ends == "half" else self.settings.frames
        for walker in self.walkers[:1] if self.ends == "half" else self.walkers:
            with self.writer(walker, self.states.get(walker)) as writer:
                times = self.settings.interval * np.arange(writer.frames + 1, end + 1)
                writer.write(np.repeat(self.prepared.reference[None], len(times), axis=0), times)
                failure = "bonds" if self.ends == "failing" else ""
                emit("frames", walker=walker, rows=[(t, "md", -1.0, failure) for t in times])
                emit("state", state=State((walker,), end, (writer.size,), {}))
        if self.ends == "badly":
            raise OSError("the disk is full")
        if self.ends == "by hand":
            raise KeyboardInterrupt
        emit("speed", engine="OpenMM", value=10.0)
        emit("phases", seconds={"md": 0.1})


def _plan(prepared: Any, s: Any, ends: str = "well") -> RolloutPlan:
    def jobs(plan: Any, folder: Path, states: Any) -> list[StillJob]:
        return [StillJob(plan.prepared, s, folder, list(range(s.walkers)), states, ends=ends)]

    return RolloutPlan("md", s, prepared=prepared, processes=1, make_jobs=jobs, request={"seed": 3})


class Here:
    """Stands for the pool of processes: runs the jobs in this one."""

    def __init__(self, count: int) -> None:
        pass

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run_jobs(self, jobs: list[Any], take: Any, over: Any) -> None:
        for job in jobs:
            job.run(lambda kind, **values: take({"kind": kind, **values}), lambda: False)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentmd.sampling.walkers.run.LocalProcesses", Here)


def test_a_finished_run_gives_its_files(prepared: Any, settings: Any, tmp_path: Path) -> None:
    seen: list[float] = []
    s, note = settings("md", 20.0, 1.0, out=tmp_path / "run"), "12 hydrogens made 3 amu heavy"
    noted = replace(prepared, molecule=replace(prepared.molecule, notes=(note,)))
    result = execute(_plan(noted, s), lambda stage, done=None, total=None: seen.append(done or 0.0))
    assert result.summary["status"] == "complete" and result.summary["frames"] == [20, 20]
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == result.summary
    assert result.summary["notes"] == [note] and result.page is not None and note in result.page.read_text()
    assert len(result.load(1)) == 20 and result.topology.exists() and result.page is not None
    rows = result.provenance()
    assert rows["walker"].tolist() == [0] * 20 + [1] * 20 and set(rows["kind"]) == {"md"}
    assert max(seen) == 40.0 and "40 frames" in repr(result) and len(result.trajectories) == 2


def test_a_complete_run_is_not_run_again(prepared: Any, settings: Any, tmp_path: Path) -> None:
    execute(_plan(prepared, settings("md", 5.0, 1.0, out=tmp_path / "run")))
    again = settings("md", 5.0, 1.0, out=tmp_path / "run", resume=True)
    assert execute(_plan(prepared, again, "badly")).summary["status"] == "complete"


def test_a_run_ends_with_its_wall_time_and_goes_on_with_more(prepared: Any, settings: Any, tmp_path: Path) -> None:
    s = settings("md", 20.0, 1.0, out=tmp_path / "run", wall=100.0)
    half = _plan(prepared, s, "half")
    result = execute(half)
    assert result.summary["status"] == "budget" and result.summary["frames"] == [10, 0] and result.page is not None
    assert "10 ps of 40 ps are done, and 1 of 2 walkers have frames" in result.summary["notes"][0]
    spent = replace(s, resume=True, begun=time.monotonic() - 200.0)
    page = result.page.read_text()
    again = execute(_plan(prepared, spent))  # nothing is left of the wall time
    assert again.summary == result.summary and again.page is not None and again.page.read_text() == page
    whole = execute(_plan(prepared, replace(s, resume=True, wall=1000.0))).summary
    assert whole["status"] == "complete" and whole["frames"] == [20, 20] and not whole["notes"]


def test_without_time_for_pictures_the_page_has_words(
    prepared: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentmd.sampling.walkers.run._REPORT", 1e9)
    result = execute(_plan(prepared, settings("md", 20.0, 1.0, out=tmp_path / "run", wall=100.0)))
    assert not (tmp_path / "run" / "report.png").exists() and result.page is not None
    text = "no time for all pictures"
    assert text in result.page.read_text() and text in result.summary["notes"][0]


def test_a_run_without_time_for_a_frame_says_so(prepared: Any, settings: Any, tmp_path: Path) -> None:
    s = settings("md", 20.0, 1.0, out=tmp_path / "run", wall=5.0, begun=time.monotonic() - 6.0)
    result = execute(_plan(prepared, s))
    assert result.summary["status"] == "budget" and result.summary["frames"] == [0, 0] and result.topology.exists()
    assert "the wall time of 5 s was over: 0 ps of 40 ps are done" in result.summary["notes"][0]


@pytest.mark.parametrize(
    ("ends", "error", "status"),
    [("badly", RunError, "failed"), ("by hand", RunInterrupted, "interrupted"), ("failing", RunError, "complete")],
)
def test_frames_are_kept_whatever_happens(
    prepared: Any, settings: Any, tmp_path: Path, ends: str, error: type[Exception], status: str
) -> None:
    s = settings("md", 5.0, 1.0, out=tmp_path / "run")
    with pytest.raises(error) as raised:
        execute(_plan(prepared, s, ends))
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == status
    words = {"badly": "the disk is full. 10 frames are in", "failing": "10 of 10 frames fail", "by hand": "run"}
    assert words[ends] in str(raised.value)
