"""Files of segments: the first of each chain is left out, and the next one starts where the last ended."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latentmd.sampling.metropolis.chain import Piece
from latentmd.sampling.metropolis.segments import SegmentFiles


def test_segments_of_two_chains(tmp_path: Path) -> None:
    files, rng = SegmentFiles(tmp_path, 2), np.random.default_rng(0)
    pieces = {}
    for number in range(3):
        for chain in range(2):
            piece = Piece(rng.standard_normal((4, 5, 3)), rng.standard_normal(4), (number, 10 * chain))
            pieces[number, chain] = piece
            assert not files.complete(number)
            files.write(number, chain, piece, np.full((4, 1), float(chain)))
        assert files.complete(number)
    sampled = files.samples(3)
    expected = [np.concatenate([pieces[n, c].energies for n in (1, 2)]) for c in range(2)]
    np.testing.assert_array_equal(sampled.energies, expected)
    assert sampled.accepted == (1 + 2 + 1 + 2, 0 + 0 + 10 + 10) and sampled.angles.shape == (2, 8, 1)
    np.testing.assert_array_equal(files.end(1, 0), pieces[1, 0].positions[-1])
    assert files.read(3, "positions").dtype == np.float32
