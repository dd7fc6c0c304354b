"""Which files an evaluation reads, and what their folders say."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from latentmd.analysis.features import EvaluationError
from latentmd.evaluation.inputs import (
    ASSUMED_TEMPERATURE,
    DEFAULTS,
    FRAME_BASELINES,
    MODEL_BASELINES,
    EvaluationSettings,
    run_record,
    trajectory_files,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("walker-0001.xtc", "walker-0000.xtc", "energy.npy", "topology.pdb"):
        (tmp_path / name).touch()
    summary = {"wall_seconds": {"total": 12.5}, "seed": 3, "protocol": {"temperature": 350.0},
               "speed": {"plain_md_ns_per_day": 86.4}}  # fmt: skip
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def test_folders_give_their_trajectories_in_order(folder: Path) -> None:
    assert [f.name for f in trajectory_files([folder])] == ["walker-0000.xtc", "walker-0001.xtc"]
    assert trajectory_files([folder / "walker-0001.xtc"]) == [folder / "walker-0001.xtc"]
    with pytest.raises(EvaluationError, match="without trajectories"):
        (folder / "empty").mkdir()
        trajectory_files([folder / "empty"])
    with pytest.raises(EvaluationError, match="no trajectory was named"):
        trajectory_files([])


def test_wall_time_counts_where_the_whole_run_is_in_the_set(folder: Path) -> None:
    whole = run_record(trajectory_files([folder]))
    assert (whole.wall_time, whole.temperature, whole.seeds) == (12.5, 350.0, (3,))
    assert whole.md_speed == pytest.approx(1.0)  # 86.4 ns/day is one ps per second
    part = run_record([folder / "walker-0000.xtc"])
    assert part.wall_time is None and part.md_speed is None and part.temperature == 350.0


def test_a_folder_that_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.xtc").touch()
    (tmp_path / "summary.json").write_text("{")
    assert run_record([tmp_path / "a.xtc"]).wall_time is None


def test_nothing_is_assumed_of_files_unless_it_is_said() -> None:
    assert DEFAULTS.temperature is None and DEFAULTS.interval is None and not DEFAULTS.resample
    assert DEFAULTS.baselines == ("auto",) and ASSUMED_TEMPERATURE == 350.0
    with pytest.raises(FrozenInstanceError):
        DEFAULTS.lag = 1.0  # type: ignore[misc]


def test_baselines_of_frames_and_of_models_are_different_ones() -> None:
    assert not set(FRAME_BASELINES) & set(MODEL_BASELINES)


def test_training_data_bring_their_baselines_unless_others_were_asked_for() -> None:
    assert EvaluationSettings().beside_training().baselines == ("msm", "shuffled", "auto")
    timed = EvaluationSettings(wall_time=1.0, md_speed=2.0, baselines=("msm", "auto"))
    assert timed.timed and timed.beside_training().baselines == ("msm", "shuffled", "replicate", "auto")
    asked = EvaluationSettings(baselines=("persistence",))
    assert asked.beside_training() is asked and not asked.timed
