"""What a path did: passages, ways and weights, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.sampling.paths.passages import channels, passage, read_batches


def test_a_passage_begins_at_the_last_frame_of_the_first_state() -> None:
    found = passage(np.array([0, 1, 0, 1, 1, 2, 0, 2]), 0, 2)
    assert (found.leaves, found.arrives, found.channel) == (2, 5, (0, 1, 2))


def test_a_direct_passage_has_two_states() -> None:
    assert passage(np.array([0, 0, 2, 1, 2]), 0, 2).channel == (0, 2)


def test_between_ends_in_one_state_the_whole_path_is_the_way() -> None:
    found = passage(np.array([1, 1, 0, 1]), 1, 1)
    assert (found.channel, found.arrives) == ((1, 0, 1), -1)


def test_shares_of_the_ways_sum_to_one() -> None:
    found = [passage(np.array(row), 0, 2) for row in ([0, 2, 2], [0, 1, 2], [0, 2, 2], [0, 2, 2])]
    ways = channels(found, np.array([0.1, 0.4, 0.3, 0.2]), 4.0)
    assert [way.name for way in ways] == ["1 → 3", "1 → 2 → 3"]
    assert [way.share for way in ways] == pytest.approx([0.6, 0.4])
    assert [way.count for way in ways] == [3, 1]
    assert all(way.low < way.share < way.high for way in ways)


def _batch(path: Path, paths: int, log_likelihood: float) -> Path:
    shape = (paths, 2)
    np.savez(
        path, cells=np.zeros(shape, int), slow=np.zeros((*shape, 1, 2)), kinds=np.zeros(shape, int),
        energies=np.zeros(shape), failed=np.full(shape, ""), sound=np.ones(shape, bool), torsions=np.zeros((*shape, 1)),
        log_likelihood=log_likelihood, effective=np.array([0.9, 0.8]), ancestors=paths,
    )  # fmt: skip
    return path


def test_batches_weigh_as_their_filters_found_the_end_likely(tmp_path: Path) -> None:
    files = [_batch(tmp_path / "a.npz", 2, float(np.log(0.1))), _batch(tmp_path / "b.npz", 2, float(np.log(0.3)))]
    drawn = read_batches(files)
    assert drawn.weight == pytest.approx([0.125, 0.125, 0.375, 0.375])
    assert drawn.log_likelihood == pytest.approx(np.log(0.2))
    assert drawn.ancestors == 4 and drawn.effective == pytest.approx(0.8)
