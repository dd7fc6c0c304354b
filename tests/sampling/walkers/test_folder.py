"""Folder of a run of walkers."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.io.atomic import OutputError
from latentmd.sampling.walkers.folder import OutputFolder


def test_overwriting_removes_the_earlier_run_and_nothing_else(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "run") as first:
        for path in (first.topology, first.trajectory(0), first.trajectory(1), first.path / "notes.txt"):
            path.write_text("old")
        assert [path.name for path in first.trajectories()] == ["walker-0000.xtc", "walker-0001.xtc"]
    with OutputFolder(tmp_path / "run", "overwrite") as second:
        assert sorted(p.name for p in second.path.iterdir()) == [".lock", "notes.txt", "request.json"]


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "run"), pytest.raises(OutputError, match="another run writes to"):
        OutputFolder(tmp_path / "run", "resume")


def test_a_run_without_frames_leaves_nothing(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "run")
    folder.topology.write_text("x")
    folder.discard()
    assert list(tmp_path.iterdir()) == []
