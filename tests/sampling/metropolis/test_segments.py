"""Folder of exact chains: new, resumed, replaced or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.io.atomic import OutputError
from latentmd.io.folder import RECORD, Policy, claim_folder
from latentmd.sampling.metropolis.ladders import Piece
from latentmd.sampling.metropolis.segments import FILES, SUMMARY, SegmentFiles, skipped
from latentmd.sampling.metropolis.tempering import Counts


def _open(path: Path, policy: Policy, seed: int = 1) -> None:
    claim_folder(path, policy, FILES, {"seed": seed}).release()


def test_new_resumed_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run"
    _open(path, "new")
    (path / SUMMARY).write_text("{}")
    _open(path, "resume")
    assert (path / SUMMARY).exists()
    with pytest.raises(OutputError, match="another seed"):
        _open(path, "resume", 2)
    with pytest.raises(OutputError, match=r"--resume to go on .* or another --out"):
        _open(path, "new")
    (path / "notes.txt").write_text("mine")
    _open(path, "overwrite", 2)
    assert not (path / SUMMARY).exists() and (path / "notes.txt").read_text() == "mine"
    assert "2" in (path / RECORD).read_text()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with claim_folder(tmp_path / "run", "new", FILES, {}), pytest.raises(OutputError, match="another run writes to"):
        claim_folder(tmp_path / "run", "resume", FILES, {})


def _piece(rng: np.random.Generator, task: int, sweeps: int) -> Piece:
    counts = Counts()
    counts.add("draw 0", np.array([True, False, bool(task)]), np.full((3, 1), 2.0))
    return Piece(
        rng.standard_normal((sweeps // 5, 3, 5, 3)).astype(np.float32),
        rng.standard_normal((sweeps, 3)),
        cold=rng.standard_normal((sweeps, 3, 2)).astype(np.float32),
        angles=np.zeros((sweeps, 6, 1)),
        end=rng.standard_normal((6, 5, 3)),
        counts=counts,
        calls=10 + task,
    )


def test_segments_of_two_tasks_with_three_chains_each(tmp_path: Path) -> None:
    files, rng = SegmentFiles(tmp_path, 2), np.random.default_rng(0)
    assert files.least == 0 and files.end(0) is None
    pieces = {(task, n): _piece(rng, task, sweeps) for task in (0, 1) for n, sweeps in enumerate((10, 10 + 5 * task))}
    for (task, _), piece in pieces.items():
        files.write(task, piece)
    assert [files.sweeps(task) for task in (0, 1)] == [20, 25] and files.least == 20
    expected = [np.concatenate([pieces[t, n].energies[:, c] for n in (0, 1)])[10:20] for t in (0, 1) for c in range(3)]
    np.testing.assert_array_equal(files.read(20, "energies"), expected)
    assert files.read(20, "positions").shape == (6, 2, 5, 3) and files.read(20, "positions").dtype == np.float32
    assert files.read(20, "angles").shape == (6, 10, 2)
    np.testing.assert_array_equal(files.end(0), pieces[0, 1].end)
    counts, calls = files.counts()
    assert calls == 42 and counts.rows() == [("draw 0", 12, 0.5, 0.5)]


@pytest.mark.parametrize(("sweeps", "left_out"), [(5, 0), (35, 15), (200, 100), (900, 100), (1000, 200), (2700, 500)])
def test_a_fifth_of_many_sweeps_is_left_out(sweeps: int, left_out: int) -> None:
    assert skipped(sweeps) == left_out
