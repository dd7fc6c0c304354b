"""Tables and summary of a run of paths, against the numbers they come from."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.io.provenance import read_provenance
from latentmd.sampling.paths.results import _notes, write_results


@pytest.fixture(scope="module")
def written(path_plan: Any, batches: Any) -> Path:
    folder: Path = path_plan.request.out
    (folder / "topology.pdb").write_text(path_plan.subject.manifest.topology)
    write_results(path_plan, [batch.file for batch in batches], {"paths": 1.0}, (0.0, 0.0))
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
    assert summary["wall_seconds"]["paths"] == 1.0


def test_repeated_paths_are_told(drawn: Any) -> None:
    import dataclasses

    assert _notes(dataclasses.replace(drawn, ancestors=3), 4) == []
    assert "1 different ones in their middle" in _notes(dataclasses.replace(drawn, ancestors=1), 4)[0]
