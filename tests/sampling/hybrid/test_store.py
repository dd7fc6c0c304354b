"""The folder of a run."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from latentmd.sampling.contracts import Burst
from latentmd.sampling.hybrid.cells import Cells
from latentmd.sampling.hybrid.store import BurstTrajectories, Store, StoreError
from latentmd.worlds.explorer import LatentExplorer, load_explorer


def _burst(seed: int, frames: int = 4) -> Burst:
    rng = np.random.default_rng(seed)
    return Burst(rng.standard_normal((frames, 2)).astype(np.float32), rng.standard_normal(frames))


def test_bursts_cells_and_explorers_round_trip(tmp_path: Path) -> None:
    store = Store(tmp_path, {"seed": 1})
    burst = _burst(0)
    store.write_burst(3, 7, burst)
    store.write_burst(3, 8, "exploded")
    anchors = np.array([[0.0], [3.0]])
    cells = Cells(np.arange(2.0), np.ones((2, 1)), anchors, np.array([0.5, -0.5]), np.hstack([anchors, anchors]))
    store.write_cells(3, cells)
    explorer = LatentExplorer(2, 5, 0)
    store.write_explorer(3, explorer)
    store.write_explorer(3, explorer)
    again = Store(tmp_path, {"seed": 1})
    kept = again.read_burst(3, 7)
    assert isinstance(kept, Burst)
    np.testing.assert_array_equal(kept.positions, burst.positions)
    np.testing.assert_array_equal(kept.energies, burst.energies)
    assert kept.positions.dtype == np.float32
    assert again.read_burst(3, 8) == "exploded"
    assert again.read_burst(3, 9) is None
    for name, value in vars(cells).items():
        np.testing.assert_array_equal(getattr(again.read_cells(3), name), value)
    x = np.ones((3, 2))
    np.testing.assert_array_equal(load_explorer(again.round(3) / "explorer").features(x), explorer.features(x))


def test_rounds_are_complete_up_to_the_first_without_its_last_file(tmp_path: Path) -> None:
    store = Store(tmp_path, {})
    for number in (0, 1, 3):
        store.write_json(store.round(number) / "round.json", {"number": number})
    assert [r["number"] for r in store.complete_rounds()] == [0, 1]


def test_other_settings_are_refused(tmp_path: Path) -> None:
    Store(tmp_path, {"seed": 1, "lag": 5})
    with pytest.raises(StoreError, match=r"holds a run with seed = 1 \(now 2\); resume with its settings"):
        Store(tmp_path, {"seed": 2, "lag": 5})
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        Store(tmp_path, {"seed": 1})
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StoreError, match="cannot write there"):
        Store(file, {})


def test_half_written_files_of_a_killed_run_are_ignored(tmp_path: Path) -> None:
    store = Store(tmp_path, {})
    (store.round(0) / ".burst-0000.unfinished-1.npz").write_bytes(b"half")
    assert store.read_burst(0, 0) is None
    store.write_burst(0, 0, _burst(1))
    assert [p.name for p in store.round(0).iterdir() if not p.name.startswith(".")] == ["burst-0000.npz"]


def test_a_full_disk_leaves_every_file_readable(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    store = Store(tmp_path, {})
    store.write_burst(0, 0, _burst(0))
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))
    try:
        with pytest.raises(StoreError, match=r"burst-0001.npz: writing failed .* is the disk full\?"):
            store.write_burst(0, 1, _burst(1, frames=1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert sorted(p.name for p in store.round(0).iterdir()) == ["burst-0000.npz"]
    assert isinstance(Store(tmp_path, {}).read_burst(0, 0), Burst)


def test_trajectories_leave_out_the_relaxation_time(tmp_path: Path) -> None:
    store = Store(tmp_path, {})
    for task in range(3):
        store.write_burst(0, task, _burst(task))
    paths = BurstTrajectories(store, [(0, 0), (0, 2)], skip=1)
    assert len(paths) == 2
    np.testing.assert_array_equal(paths[1], _burst(2).positions[1:])
    np.testing.assert_array_equal(paths[1:][0], _burst(2).positions[1:])
    with pytest.raises(StoreError, match="is missing"):
        BurstTrajectories(store, [(5, 5)], 0)[0]


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path, {})
    (store.round(0) / "burst-0000.npz").write_bytes(b"")
    with pytest.raises(StoreError, match=r"burst-0000.npz cannot be read .* delete its round"):
        store.read_burst(0, 0)
