"""Trajectories that are given: read as they are, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.sampling.paths.given import read_given


@pytest.fixture
def trajectory(alanine_topology: Any, alanine_runs: list[Any]) -> Any:
    return mdtraj.Trajectory(alanine_runs[0][:20].copy(), alanine_topology, time=10.0 * np.arange(20))


def test_times_and_positions_are_those_of_the_file(trajectory: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.xtc"
    trajectory.save_xtc(str(path))
    given = read_given(path, trajectory.topology, None)
    assert given.interval == pytest.approx(10.0) and given.times[-1] == pytest.approx(190.0)
    assert np.abs(given.positions - trajectory.xyz).max() < 1e-3


def test_jumps_across_a_box_are_refused(trajectory: Any, tmp_path: Path) -> None:
    trajectory.xyz[7, :6] += np.array([2.0, 0, 0], dtype=np.float32)
    path = tmp_path / "jump.xtc"
    trajectory.save_xtc(str(path))
    with pytest.raises(ValueError, match=r"Frame 7 of .*jump\.xtc has a bond of .* jumps across a periodic box"):
        read_given(path, trajectory.topology, None)


def test_one_frame_is_refused(trajectory: Any, tmp_path: Path) -> None:
    path = tmp_path / "one.dcd"
    trajectory[:1].save_dcd(str(path))
    with pytest.raises(ValueError, match=r"has 1 frame; expected two or more"):
        read_given(path, trajectory.topology, 1.0)
