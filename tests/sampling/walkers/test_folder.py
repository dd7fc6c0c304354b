"""Folder of a run of walkers."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.io.atomic import OutputError
from latentmd.io.folder import claim_folder
from latentmd.sampling.walkers.folder import TOPOLOGY, WALKERS, trajectory_path


def test_overwriting_removes_the_earlier_run_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with claim_folder(out, "new", WALKERS, {}):
        for path in (out / TOPOLOGY, trajectory_path(out, 0), trajectory_path(out, 1), out / "notes.txt"):
            path.write_text("old")
    with claim_folder(out, "overwrite", WALKERS, {}):
        assert sorted(path.name for path in out.iterdir()) == [".lock", "notes.txt", "request.json"]


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    with claim_folder(tmp_path / "run", "new", WALKERS, {}), pytest.raises(OutputError, match="another run writes to"):
        claim_folder(tmp_path / "run", "resume", WALKERS, {})
