"""Trajectory files end with a whole frame, whatever happens."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.io.atomic import OutputError
from latentmd.io.writer import FrameWriter, write_xtc

TOP = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 22, 3))


def test_an_xtc_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_xtc(tmp_path / "w.xtc", frames(2), [1.0, 2.0])
    with pytest.raises(ValueError, match="not finite"):
        write_xtc(tmp_path / "w.xtc", np.full((3, 22, 3), np.nan), [1.0, 2.0, 3.0])
    assert mdtraj.load(str(tmp_path / "w.xtc"), top=str(TOP)).n_frames == 2
    assert [path.name for path in tmp_path.iterdir()] == ["w.xtc"]


def test_trajectories_keep_times_and_have_no_box(tmp_path: Path) -> None:
    xyz = frames(5)
    with FrameWriter(tmp_path / "w.xtc") as writer:
        writer.write(xyz[:3], [100.0, 200.0, 300.0])
        writer.write(xyz[3:], [400.0, 500.0])
        assert writer.frames == 5
    loaded = mdtraj.load(str(tmp_path / "w.xtc"), top=str(TOP))
    assert np.array_equal(loaded.time, [100, 200, 300, 400, 500])
    assert np.allclose(loaded.xyz, xyz, atol=6e-4)
    assert loaded.unitcell_lengths is None


def test_trajectories_keep_a_box(tmp_path: Path) -> None:
    with FrameWriter(tmp_path / "w.xtc", np.diag([3.0, 4.0, 5.0])) as writer:
        writer.write(frames(2), [1.0, 2.0])
    assert np.allclose(mdtraj.load(str(tmp_path / "w.xtc"), top=str(TOP)).unitcell_lengths, [3, 4, 5])


def test_the_file_is_readable_after_every_write(tmp_path: Path) -> None:
    with FrameWriter(tmp_path / "w.xtc") as writer:
        for i in range(3):
            writer.write(frames(1), [float(i)])
            assert mdtraj.load(str(tmp_path / "w.xtc"), top=str(TOP)).n_frames == i + 1


def test_non_finite_frames_are_refused(tmp_path: Path) -> None:
    bad = frames(1)
    bad[0, 3, 1] = np.nan
    with FrameWriter(tmp_path / "w.xtc") as writer:
        writer.write(frames(1), [1.0])
        with pytest.raises(ValueError, match="not finite after 1 frames"):
            writer.write(bad, [2.0])
    assert mdtraj.load(str(tmp_path / "w.xtc"), top=str(TOP)).n_frames == 1


def test_full_disk_leaves_whole_frames(tmp_path: Path, file_size_limit: None) -> None:
    writer = FrameWriter(tmp_path / "w.xtc")
    with pytest.raises(OutputError, match="is the disk full"):
        for i in range(100):
            writer.write(frames(10, i), 10 * i + np.arange(10.0))
    loaded = mdtraj.load(str(tmp_path / "w.xtc"), top=str(TOP))
    assert loaded.n_frames == writer.frames > 0
    assert np.array_equal(loaded.time, np.arange(writer.frames))
