"""A whole run of paths with the bundled model: files, seeds, resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.sampling.paths import run
from latentmd.sampling.paths.run import paths

SHORT: dict[str, Any] = {"time": "40ps", "every": "20ps", "count": 3, "processes": 1}
STATES: dict[str, Any] = {"model": "alanine-dipeptide", "origin": 1, "target": 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paths") / "run"
    paths(**STATES, **SHORT, out=folder)
    return folder


def test_a_run_leaves_full_atom_paths_and_says_how_they_were_made(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["status"] == "complete" and summary["paths"] == 3 and summary["frames"] == 9
    assert summary["ends"] == ["state 1", "state 2"]
    assert sum(way["share"] for way in summary["channels"]) == pytest.approx(1.0)
    assert sum(state["share_of_path_frames"] for state in summary["states"]) == pytest.approx(1.0)
    result = run.PathsResult(finished, summary, sorted(finished.glob("path-*.xtc")), finished / "topology.pdb")
    first = mdtraj.load(str(result.trajectories[0]), top=str(result.topology))
    assert first.time.tolist() == [0.0, 20.0, 40.0] and first.n_atoms == 22
    rows = result.provenance()
    assert len(rows["walker"]) == 9 and set(rows["kind"]) <= {"latent", "relaxed"}
    assert rows["weight"].sum() == pytest.approx(1.0, abs=1e-4)
    for name in ("paths.png", "paths.html", "paths.csv"):
        assert (finished / name).stat().st_size > 100


def test_paths_begin_and_end_in_their_states(finished: Path, chain: Any) -> None:
    with np.load(finished / "state" / "batch-0000.npz") as batch:
        states = chain.states[batch["cells"]]
    assert set(states[:, 0]) == {0} and set(states[:, -1]) == {1}


def test_resume_makes_what_is_missing_and_nothing_else(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(run, "_BATCH", 2)
    whole, part = tmp_path / "whole", tmp_path / "part"
    paths(**STATES, **SHORT, out=whole)
    shutil.copytree(whole, part)
    for name in ("summary.json", "state/batch-0001.npz", "path-0002.xtc"):
        (part / name).unlink()
    paths(**STATES, **SHORT, out=part, resume=True)
    for name in ("path-0000.xtc", "path-0002.xtc", "provenance.csv", "paths.csv"):
        assert (part / name).read_bytes() == (whole / name).read_bytes(), name


def test_another_request_is_not_resumed(finished: Path) -> None:
    from latentmd.io.atomic import OutputError

    with pytest.raises(OutputError, match="another seed"):
        paths(**STATES, **SHORT, out=finished, resume=True, seed=9)
