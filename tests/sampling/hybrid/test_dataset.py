"""Bursts of a run so far, on a toy: features, discarded ones, states and cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.sampling.contracts import Burst
from latentmd.sampling.hybrid.cells import Cells
from latentmd.sampling.hybrid.dataset import Dataset
from latentmd.sampling.hybrid.store import Store
from latentmd.worlds.explorer import LatentExplorer
from latentmd.worlds.landscapes import ToyEngine, double_well


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three bursts of a double well, two of them in the left well; one was discarded."""
    engine, store = ToyEngine(double_well(), 5), Store(tmp_path, {})
    made = Dataset(store, engine, LatentExplorer(1, 5, 0), double_well().states, skip=2)
    bursts: list[Burst | str] = [engine.burst(np.array([x]), 20, i) for i, x in enumerate((-1.0, 1.0, -1.0))]
    for task, burst in enumerate([*bursts, "exploded"]):
        store.write_burst(0, task, burst)
        made.add((0, task), "given", burst)
    return made


def test_good_bursts_count_and_bad_ones_are_named(dataset: Dataset) -> None:
    assert len(dataset) == 3 and dataset.keys == [(0, 0), (0, 1), (0, 2)]
    assert dict(dataset.discarded) == {"exploded": 1}
    assert dataset.frames == 60 and all(len(e) == 20 for e in dataset.energies)


def test_features_have_all_frames_and_trajectories_leave_out_the_relaxation(dataset: Dataset) -> None:
    features = dataset.features()
    assert [len(f) for f in features] == [20, 20, 20]
    assert features[0].shape[1] == dataset.latent[0].shape[1] + dataset.physical[0].shape[1]
    assert [len(t) for t in dataset.trajectories()] == [18, 18, 18]
    assert [len(t) for t in dataset.trajectories(first=1, skip=0)] == [20, 20]


def test_another_explorer_encodes_everything_again(dataset: Dataset) -> None:
    before = [latent.copy() for latent in dataset.latent]
    dataset.use(LatentExplorer(1, 5, 9))
    assert [x.shape for x in dataset.latent] == [x.shape for x in before]
    assert not np.allclose(dataset.latent[0], before[0])


def _two_cells(dataset: Dataset) -> Cells:
    """Cells left and right of zero, along the last feature: the position of the toy."""
    size = dataset.features()[0].shape[1]
    matrix = np.zeros((size, 1))
    matrix[-1] = 1.0
    anchors = np.array([[-1.0], [1.0]])
    return Cells(np.zeros(size), matrix, anchors, np.zeros(2), np.hstack([anchors, np.zeros((2, 1))]))


def test_cells_of_frames_are_the_same_whether_remembered_or_not(dataset: Dataset) -> None:
    cells = _two_cells(dataset)
    paths = dataset.paths(cells)
    assert dataset.paths(cells)[0] is paths[0]
    for ours, again in zip(paths, dataset.assigned(cells, 3), strict=True):
        np.testing.assert_array_equal(ours, again)
    assert len(set(map(int, np.concatenate(paths)))) == 2


def test_bursts_know_the_named_states(dataset: Dataset) -> None:
    bursts = dataset.bursts(_two_cells(dataset), 2, 3)
    assert set(bursts.states) == set(double_well().states)
    share = np.concatenate(bursts.inside).mean(axis=0)
    assert share.max() > 0.5 and share.sum() <= 1.0 + 1e-12
