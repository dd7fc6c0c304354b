"""Output folders, trajectory files and provenance, whatever happens."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.io.outputs import (
    FrameWriter,
    OutputError,
    OutputFolder,
    Provenance,
    read_provenance,
    write_atomically,
)

TOP = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.fixture
def file_size_limit() -> Iterator[None]:
    """Files of this process may not grow beyond 20 kB: writing fails as on a full disk."""
    old_signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, old_signal)


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 22, 3))


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


def test_full_disk_while_replacing_a_text_file(tmp_path: Path, file_size_limit: None) -> None:
    path = tmp_path / "summary.json"
    write_atomically(path, "{}")
    with pytest.raises(OutputError, match="writing failed"):
        write_atomically(path, "x" * 30_000)
    assert path.read_text() == "{}"
    assert list(tmp_path.iterdir()) == [path]


def test_provenance_comes_back_in_order(tmp_path: Path) -> None:
    provenance = Provenance(tmp_path / "provenance.csv")
    provenance.add(1, [(100.0, "latent", -50.5, ""), (200.0, "relaxed", -70.0, "")])
    provenance.add(0, [(100.0, "md", -60.0, "bonds clashes")])
    provenance.add(1, [(300.0, "md", -71.0, "")])
    provenance.close()
    read = read_provenance(tmp_path / "provenance.csv")
    assert read["walker"].tolist() == [0, 1, 1, 1]
    assert read["time_ps"].tolist() == [100, 100, 200, 300]
    assert read["kind"].tolist() == ["md", "latent", "relaxed", "md"]
    assert read["checks_failed"].tolist() == ["bonds clashes", "", "", ""]


def test_provenance_on_a_full_disk(tmp_path: Path, file_size_limit: None) -> None:
    provenance = Provenance(tmp_path / "provenance.csv")
    provenance.add(0, [(1.0, "md", -1.0, "")])
    with pytest.raises(OutputError, match="is the disk full"):
        provenance.add(0, [(float(i), "md", -1.0, "") for i in range(5000)])
    provenance.close()
    assert len(read_provenance(tmp_path / "provenance.csv")["walker"]) == 1


def test_a_filled_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"not empty; pass --overwrite"):
        OutputFolder(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        OutputFolder(tmp_path / "run")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write there"):
        OutputFolder(tmp_path / "file" / "run")


def test_overwriting_replaces_a_run_only_when_finished(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = OutputFolder(out)
    for name in ("topology.pdb", "summary.json", "walker-0000.xtc", "walker-0001.xtc"):
        (first.work / name).write_text("old")
    (out / "notes.txt").write_text("mine")

    second = OutputFolder(out, overwrite=True)
    second.write_summary({"new": True})
    second.trajectory(0).write_text("new")
    assert (out / "walker-0000.xtc").read_text() == "old"
    second.finish()
    assert sorted(p.name for p in out.iterdir()) == ["notes.txt", "summary.json", "walker-0000.xtc"]
    assert json.loads((out / "summary.json").read_text()) == {"new": True}
    assert (out / "notes.txt").read_text() == "mine"
    assert not out.with_name("run.partial").exists()
