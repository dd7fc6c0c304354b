"""Training trajectories from memory, beside the same ones from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.io.atomic import OutputError
from latentmd.training.config import parse_config
from latentmd.training.data import Trajectories, load_data, soft_torsions, some_frames
from latentmd.training.train import train


@pytest.fixture
def bursts(alanine_runs: list[Any]) -> Trajectories:
    return Trajectories([run[:200] for run in alanine_runs], 0.2, ["a", "b", "c"])


def test_arrays_are_split_and_strided_like_files(bursts: Trajectories, pdb: Path, tiny: dict[str, Any]) -> None:
    data = load_data(bursts, pdb, parse_config({**tiny, "stride": 0.4, "jepa": {}, "predictor": {}}))
    assert data.names == {"train": ["a", "b"], "validation": ["c"]}
    np.testing.assert_array_equal(data.train[1], bursts.positions[1][::2])
    assert Trajectories(bursts.positions, 0.2).labels()[2] == "trajectory-0002"


def test_files_give_the_same_within_their_precision(
    files: list[Path], alanine_runs: list[Any], pdb: Path, tiny: dict[str, Any]
) -> None:
    config = parse_config(tiny)
    stored, held = load_data(files, pdb, config), load_data(Trajectories(alanine_runs, 0.2), pdb, config)
    np.testing.assert_allclose(stored.train[0], held.train[0], atol=6e-4)  # XTC keeps 0.001 nm


def test_unusable_arrays_are_named(bursts: Trajectories, pdb: Path, tiny: dict[str, Any]) -> None:
    config = parse_config(tiny)
    with pytest.raises(ValueError, match=r"b has the shape \(200, 21, 3\); expected \(frames, 22, 3\) in nm"):
        load_data(Trajectories([bursts.positions[0], bursts.positions[1][:, 1:]] * 2, 0.2, "abcd"), pdb, config)
    broken = np.array(bursts.positions[2])
    broken[7, 3] = np.nan
    with pytest.raises(ValueError, match="c holds positions that are not finite"):
        load_data(Trajectories([*bursts.positions[:2], broken], 0.2, "abc"), pdb, config)
    with pytest.raises(ValueError, match="expected a positive interval"):
        load_data(Trajectories(bursts.positions, 0.0), pdb, config)


def test_resume_refuses_other_positions(bursts: Trajectories, pdb: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    def interrupt(name: str, now: int, steps: int, values: dict[str, float]) -> None:
        raise KeyboardInterrupt

    out, config = tmp_path / "model.pt", parse_config(tiny)
    with pytest.raises(KeyboardInterrupt):
        train(bursts, pdb, out, config, device="cpu", report=interrupt)
    moved = Trajectories([positions + 0.01 for positions in bursts.positions], 0.2, bursts.names)
    with pytest.raises(OutputError, match="holds a run with another positions"):
        train(moved, pdb, out, config, device="cpu", resume=True)


def test_frames_for_statistics_come_from_every_trajectory(bursts: Trajectories) -> None:
    chosen = some_frames([np.asarray(p, np.float32) for p in bursts.positions], 60)
    assert chosen.shape == (60, 22, 3)


def test_soft_torsions_are_unit_vectors_of_moving_torsions(
    bursts: Trajectories, pdb: Path, tiny: dict[str, Any]
) -> None:
    data = load_data(bursts, pdb, parse_config(tiny))
    found = soft_torsions(data, 5.0)
    half = found[0].shape[1] // 2
    np.testing.assert_allclose(found[0][:, :half] ** 2 + found[0][:, half:] ** 2, 1, atol=1e-5)
    assert soft_torsions(data, 179.0) == []


def test_few_frames_are_refused(tiny: dict[str, Any], pdb: Path, alanine_runs: list[Any]) -> None:
    few = Trajectories([run[:30] for run in alanine_runs], 0.2)
    with pytest.raises(ValueError, match=r"60 frames to train on, 0.2 ps apart; expected at least 100"):
        load_data(few, pdb, parse_config(tiny))
