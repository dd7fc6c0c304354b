"""A whole run of paths with the bundled model: files, seeds, resume."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.io.provenance import read_provenance
from latentmd.sampling.paths import run
from latentmd.sampling.paths.decoded import KINDS, path_file
from latentmd.sampling.paths.run import _notes, paths, write_results

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
    wall = summary["wall_seconds"]
    assert wall["total"] == pytest.approx(sum(wall[part] for part in ("preparation", "paths", "results")), abs=0.01)
    assert sum(way["share"] for way in summary["channels"]) == pytest.approx(1.0)
    assert sum(state["share_of_path_frames"] for state in summary["states"]) == pytest.approx(1.0)
    result = run.PathsResult(finished, summary)
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


@pytest.fixture(scope="module")
def written(path_plan: Any, batches: Any) -> Path:
    folder: Path = path_plan.request.out
    (folder / "topology.pdb").write_text(path_plan.subject.manifest.topology)
    summary = write_results(path_plan, [batch.file for batch in batches])
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_each_path_has_its_weight_probability_and_times(written: Path, path_plan: Any, drawn: Any) -> None:
    with (written / "paths.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["path"]) for row in rows] == [0, 1, 2, 3]
    assert [float(row["weight"]) for row in rows] == pytest.approx(drawn.weight.tolist(), rel=1e-4)
    own = [float(row["ln_probability"]) for row in rows]
    matrices = [path_plan.guide.step_matrix(t) for t in range(3)]
    expected = [sum(np.log(m[c[t], c[t + 1]]) for t, m in enumerate(matrices)) for c in drawn.cells]
    assert own == pytest.approx(expected, abs=1e-3)
    for row in rows:
        assert row["states"].startswith("1 ") and row["states"].endswith(" 3")
        assert 0 <= float(row["leaves_ps"]) < float(row["arrives_ps"]) <= 60


def test_each_frame_says_how_it_was_made(written: Path, drawn: Any) -> None:
    rows = read_provenance(written / "provenance.csv")
    assert rows["walker"].tolist() == np.repeat(np.arange(4), 4).tolist()
    assert rows["time_ps"].tolist() == [0, 20, 40, 60] * 4
    assert rows["potential_energy"] == pytest.approx(drawn.energies.ravel(), abs=1e-3)
    assert rows["weight"].sum() == pytest.approx(1.0, abs=1e-4)


def test_the_summary_counts_states_by_weight(written: Path, path_plan: Any, drawn: Any) -> None:
    summary = json.loads((written / "summary.json").read_text())
    states = path_plan.chain.states[drawn.cells]
    for entry in summary["states"]:
        share = float(drawn.weight @ (states == entry["state"] - 1).mean(axis=1))
        assert entry["share_of_path_frames"] == pytest.approx(share)
    assert sum(way["share"] for way in summary["channels"]) == pytest.approx(1.0)


def test_repeated_paths_are_told(path_plan: Any, drawn: Any) -> None:
    assert _notes(path_plan, dataclasses.replace(drawn, ancestors=3)) == []
    assert "1 different ones in their middle" in _notes(path_plan, dataclasses.replace(drawn, ancestors=1))[0]


def test_equal_seeds_give_equal_paths_and_others_differ(path_plan: Any, batches: Any, tmp_path: Path) -> None:
    for name, seed in (("same", 5), ("other", 6)):
        request = dataclasses.replace(path_plan.request, out=tmp_path / name, seed=seed)
        plan = dataclasses.replace(path_plan, request=request)
        request.out.mkdir()
        dataclasses.replace(batches[1], options=request, plan=plan).run()
    first = path_file(path_plan.request.out, 2).read_bytes()
    assert path_file(tmp_path / "same", 2).read_bytes() == first
    assert path_file(tmp_path / "other", 2).read_bytes() != first


def test_a_batch_says_how_its_frames_were_made(drawn: Any, path_plan: Any) -> None:
    assert drawn.kinds.shape == (4, 4) and set(drawn.kinds.ravel()) <= {0, 1}
    assert KINDS[:2] == ("latent", "relaxed")
    assert np.isfinite(drawn.energies).all() and (drawn.failed == "").all()
    assert (path_plan.chain.states[drawn.cells[:, 0]] == 0).all()
    assert (path_plan.chain.states[drawn.cells[:, -1]] == 2).all()
