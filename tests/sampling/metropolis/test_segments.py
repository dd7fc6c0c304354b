"""Files of segments: the first ones are left out, and the next one starts where the last ended."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latentmd.sampling.metropolis.ladders import Piece
from latentmd.sampling.metropolis.segments import SegmentFiles
from latentmd.sampling.metropolis.tempering import Counts


def _piece(rng: np.random.Generator, task: int) -> Piece:
    counts = Counts()
    counts.add("draw 0", np.array([True, False, bool(task)]), np.full((3, 1), 2.0))
    return Piece(
        rng.standard_normal((2, 3, 5, 3)).astype(np.float32),
        rng.standard_normal((4, 3)),
        cold=rng.standard_normal((4, 3, 2)).astype(np.float32),
        angles=np.zeros((4, 6, 1)),
        end=rng.standard_normal((6, 5, 3)),
        counts=counts,
        calls=10 + task,
    )


def test_segments_of_two_tasks_with_three_chains_each(tmp_path: Path) -> None:
    files, rng = SegmentFiles(tmp_path, 2), np.random.default_rng(0)
    pieces = {}
    for number in range(3):
        for task in range(2):
            assert not files.complete(number)
            pieces[number, task] = _piece(rng, task)
            files.write(number, task, pieces[number, task])
        assert files.complete(number)
    expected = [np.concatenate([pieces[n, t].energies[:, c] for n in (1, 2)]) for t in range(2) for c in range(3)]
    np.testing.assert_array_equal(files.read(3, "energies"), expected)
    assert files.read(3, "positions").shape == (6, 4, 5, 3) and files.read(3, "positions").dtype == np.float32
    assert files.read(3, "angles").shape == (6, 8, 2)
    np.testing.assert_array_equal(files.end(1, 0), pieces[1, 0].end)
    counts, calls = files.counts(3)
    assert calls == 63 and counts.rows() == [("draw 0", 18, 0.5, 0.5)]


def test_a_fifth_of_many_segments_is_left_out(tmp_path: Path) -> None:
    assert [SegmentFiles(tmp_path, 1).skipped(number) for number in (2, 9, 10, 27)] == [1, 1, 2, 5]
