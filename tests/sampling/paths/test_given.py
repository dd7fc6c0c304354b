"""Trajectories that are given: read as they are, or refused in a sentence."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.sampling.paths.given import fill_windows, read_given, windows


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


@pytest.mark.parametrize(("known", "most"), [(2, 6), (3, 1), (4, 6), (7, 6), (8, 6), (50, 6), (50, 3), (11, 2)])
def test_every_interval_is_kept_once(known: int, most: int) -> None:
    plan = windows(known, most)
    assert plan[0].keep[0] == 0 and plan[-1].keep[1] == known - 1
    assert all(a.keep[1] == b.keep[0] for a, b in pairwise(plan))
    for window in plan:
        assert window.first <= window.keep[0] < window.keep[1] <= window.first + window.intervals <= known - 1
        assert window.intervals == min(most, known - 1)


class _Linear:
    """Fills in straight lines between the known frames."""

    window = 16

    def sample(self, known: Tensor, mask: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        result = known.clone()
        for row, given in zip(result, mask, strict=True):
            places = torch.nonzero(given[:, 0]).flatten().tolist()
            for a, b in pairwise(places):
                share = torch.linspace(0, 1, b - a + 1).reshape(-1, 1, 1)
                row[a : b + 1] = row[a] + share * (row[b] - row[a])
        return result


def test_frames_end_up_where_they_belong() -> None:
    known = torch.randn(23, 1, 2, generator=torch.Generator().manual_seed(0))
    filled = fill_windows(_Linear(), known, 5, 1.0, torch.Generator())  # type: ignore[arg-type]
    assert filled.shape == (111, 1, 2) and torch.equal(filled[::5], known)
    assert torch.allclose(filled[5 * 7 + 2], known[7] + 0.4 * (known[8] - known[7]), atol=1e-6)
    assert torch.allclose(filled[-2], known[-2] + 0.8 * (known[-1] - known[-2]), atol=1e-6)
