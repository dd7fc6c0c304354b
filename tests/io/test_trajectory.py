"""Trajectory files: formats, streaming, and a clear message for each kind of bad file."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.integrators.openmm_selection import sub_topology
from latentmd.io.trajectory import TrajectoryError, TrajectoryReader, load_positions

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
FRAMES = 25


@pytest.fixture
def trajectory() -> mdtraj.Trajectory:
    frame = mdtraj.load(str(PDB))
    xyz = frame.xyz + np.random.default_rng(0).normal(0, 0.01, (FRAMES, 22, 3))
    return mdtraj.Trajectory(xyz.astype(np.float32), frame.topology, time=100 + 0.5 * np.arange(FRAMES))


def failure(path: Path, **options: float) -> str:
    """The message with which reading a file through is refused."""
    with pytest.raises(TrajectoryError) as caught:
        load_positions([path], PDB, **options)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["xtc", "trr", "dcd"])
def test_formats(trajectory: mdtraj.Trajectory, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    trajectory.save(str(path))
    interval = 0.5 if suffix == "dcd" else None
    reader = TrajectoryReader(path, PDB, interval=interval, block=10)
    blocks = list(reader)
    assert [len(block.positions) for block in blocks] == [10, 10, 5]
    assert np.abs(np.concatenate([b.positions for b in blocks]) - trajectory.xyz).max() < 1.1e-3
    assert reader.interval == pytest.approx(0.5)
    times = np.concatenate([block.times for block in blocks])
    assert (len(times), reader.n_atoms) == (FRAMES, 22)
    assert np.allclose(np.diff(times), 0.5)
    assert times[0] == (0 if suffix == "dcd" else 100)


def test_arrays_are_mapped_not_read(trajectory: mdtraj.Trajectory, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", trajectory.xyz)
    np.save(tmp_path / "b.npy", trajectory.xyz.astype(np.float64))
    (first, second), interval = load_positions([tmp_path / "a.npy", tmp_path / "b.npy"], PDB, interval=0.5)
    assert isinstance(first, np.memmap)
    assert (second.dtype, interval) == (np.float32, 0.5)
    assert np.array_equal(first, second)
    assert "carries no times" in failure(tmp_path / "a.npy")


def test_files_must_share_an_interval(trajectory: mdtraj.Trajectory, tmp_path: Path) -> None:
    trajectory.save(str(tmp_path / "a.xtc"))
    trajectory[::2].save(str(tmp_path / "b.xtc"))
    with pytest.raises(TrajectoryError, match=r"b\.xtc are 1 ps apart, those of .*a\.xtc 0\.5 ps"):
        load_positions([tmp_path / "a.xtc", tmp_path / "b.xtc"], PDB)
    with pytest.raises(TrajectoryError, match="No trajectories given"):
        load_positions([], PDB)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    assert "not found" in failure(tmp_path / "none.xtc")
    (tmp_path / "empty.xtc").touch()
    assert "is empty" in failure(tmp_path / "empty.xtc")
    with pytest.raises(TrajectoryError, match=r"Topology .*none\.pdb not found"):
        load_positions([tmp_path / "empty.xtc"], tmp_path / "none.pdb")
    (tmp_path / "empty.pdb").touch()
    with pytest.raises(TrajectoryError, match="ATOM records"):
        load_positions([tmp_path / "empty.xtc"], tmp_path / "empty.pdb")


@pytest.mark.parametrize("suffix", ["xtc", "trr", "dcd", "npy"])
def test_foreign_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"this is no trajectory " * 100)
    message = failure(path, interval=1.0)
    assert path.name in message
    assert "damaged" in message


@pytest.mark.parametrize("suffix", ["xtc", "trr", "dcd", "npy"])
def test_truncated_files(trajectory: mdtraj.Trajectory, tmp_path: Path, suffix: str) -> None:
    whole, cut = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    np.save(whole, trajectory.xyz) if suffix == "npy" else trajectory.save(str(whole))
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3 + 5])
    assert "truncated" in failure(cut, interval=1.0)


def test_other_atoms(trajectory: mdtraj.Trajectory, tmp_path: Path) -> None:
    heavy = trajectory.atom_slice(trajectory.topology.select("element != H"))
    heavy.save(str(tmp_path / "heavy.xtc"))
    message = failure(tmp_path / "heavy.xtc")
    assert "has 10 atoms, the topology has 22 (ACE-ALA-NME)" in message
    assert "hydrogens were not saved" in message
    np.save(tmp_path / "a.npy", trajectory.xyz[:, :20])
    assert "has 20 atoms" in failure(tmp_path / "a.npy", interval=1.0)
    lines = [line for line in PDB.read_text().splitlines() if "CONECT" not in line]
    lines[1], lines[2] = lines[2], lines[1]
    (tmp_path / "swapped.pdb").write_text("\n".join(lines))
    x = TrajectoryReader(tmp_path / "swapped.pdb", PDB, interval=1.0).positions()
    assert np.abs(x - mdtraj.load(str(PDB)).xyz).max() < 1e-3


def test_wrong_array_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 66), dtype=np.float32))
    assert "expected floats of shape (frames, 22, 3)" in failure(tmp_path / "a.npy", interval=1.0)


@pytest.mark.parametrize("suffix", ["npy", "trr"])
def test_non_finite_frames_are_named(trajectory: mdtraj.Trajectory, tmp_path: Path, suffix: str) -> None:
    trajectory.xyz[17, 12, 1] = np.nan
    path = tmp_path / f"a.{suffix}"
    np.save(path, trajectory.xyz) if suffix == "npy" else trajectory.save(str(path))
    message = failure(path, interval=1.0)
    assert "Frame 17 of" in message
    assert "ALA2-CB" in message


def test_unwritten_frames_are_named(trajectory: mdtraj.Trajectory, tmp_path: Path) -> None:
    trajectory.xyz[20:] = 0
    np.save(tmp_path / "a.npy", trajectory.xyz)
    assert "Frame 20 of" in failure(tmp_path / "a.npy", interval=1.0)


@pytest.mark.parametrize("block", [1000, 10, 1])
def test_irregular_spacing_is_named(trajectory: mdtraj.Trajectory, tmp_path: Path, block: int) -> None:
    trajectory.time[10:] += 3
    trajectory.save(str(tmp_path / "a.xtc"))
    with pytest.raises(TrajectoryError, match=r"frame 10 is at 108 ps, 3\.5 ps after .* 0\.5 ps apart"):
        list(TrajectoryReader(tmp_path / "a.xtc", PDB, block=block))


def test_late_times_are_rounded_but_even(trajectory: mdtraj.Trajectory, tmp_path: Path) -> None:
    """XTC stores times in float32: at 10 microseconds they are whole picoseconds."""
    trajectory.time = 1e7 + 0.1 + 5 * np.arange(FRAMES)
    trajectory.save(str(tmp_path / "a.xtc"))
    assert TrajectoryReader(tmp_path / "a.xtc", PDB).interval == pytest.approx(5, abs=0.05)


def test_molecules_cut_by_the_box_are_made_whole(trajectory: mdtraj.Trajectory, tmp_path: Path) -> None:
    moved = trajectory.xyz - 0.1
    boxed = mdtraj.Trajectory(
        np.mod(moved, 2.0), trajectory.topology, trajectory.time, np.full((FRAMES, 3), 2.0), np.full((FRAMES, 3), 90.0)
    )
    boxed.save(str(tmp_path / "a.trr"))
    assert np.ptp(boxed.xyz, axis=1).max() > 1.8
    arrays, _ = load_positions([tmp_path / "a.trr"], PDB)
    assert np.allclose(arrays[0] - arrays[0][:, :1], moved - moved[:, :1], atol=1e-4)


@pytest.mark.parametrize("suffix", ["pdb", "h5"])
@pytest.mark.parametrize("seed", [0, 1])
def test_files_that_name_their_atoms_may_list_them_in_another_order(
    trajectory: mdtraj.Trajectory, tmp_path: Path, suffix: str, seed: int
) -> None:
    """Names and bonds say which atom is which: positions come in the order of the topology."""
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(part) for part in (range(6), range(6, 16), range(16, 22))])
    path = tmp_path / f"a.{suffix}"
    moved = mdtraj.Topology.from_openmm(sub_topology(trajectory.topology.to_openmm(), order.tolist()))
    mdtraj.Trajectory(trajectory.xyz[:, order], moved, time=trajectory.time).save(str(path))
    reader = TrajectoryReader(path, PDB, interval=0.5 if suffix == "pdb" else None)
    assert np.abs(reader.positions() - trajectory.xyz).max() < 1e-3


def test_other_molecules_that_name_their_atoms_are_refused(trajectory: mdtraj.Trajectory, tmp_path: Path) -> None:
    """The same elements in the same order, bonded in another way."""
    other = trajectory[:2]
    other.topology = trajectory.topology.copy()
    names = [atom.name for atom in other.topology.atoms]
    a, b = names.index("HA"), names.index("HB1")
    bonds = [bond for bond in other.topology.bonds]
    atoms = list(other.topology.atoms)
    atoms[a].name, atoms[b].name = "HB1", "HA"
    other.topology._bonds = [bond for bond in bonds if atoms[a] not in bond]
    other.topology.add_bond(atoms[names.index("CB")], atoms[a])
    other.save(str(tmp_path / "a.h5"))
    message = failure(tmp_path / "a.h5")
    assert "differ from the topology: atom 10 is ALA2-HB1, expected ALA2-HA" in message and "bonds, that of" in message
