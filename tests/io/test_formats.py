"""Trajectories in the dialects of other programs: read right, or refused in one sentence."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.arrays import Floats
from latentmd.io.formats import FORMATS, ascii_path, suffix_of, trajectories_in
from latentmd.io.trajectory import TrajectoryError, TrajectoryReader, load_positions
from latentmd.io.writer import FrameWriter

sys.path.insert(0, str(Path(__file__).parent))
from dialects import (
    ATOMS,
    FRAMES,
    LOW,
    PDB,
    READ,
    STEP,
    SYMBOLS,
    XYZ,
    arc,
    dcd,
    gro,
    lammps,
    mdcrd,
    netcdf,
    saved,
    xyz_text,
)  # fmt: skip


def distances(xyz: Floats) -> Floats:
    """Of all pairs of atoms, which neither shifts nor boxes change."""
    return np.asarray(np.linalg.norm(xyz[:, :, None] - xyz[:, None], axis=-1))


@pytest.mark.parametrize("case", READ)
def test_files_of_many_programs(case: str, tmp_path: Path) -> None:
    name, write, timed = READ[case]
    write(tmp_path / name)
    reader = TrajectoryReader(tmp_path / name, PDB, interval=None if timed else STEP)
    assert np.abs(distances(reader.positions()) - distances(XYZ)).max() < 4e-3
    assert reader.interval == pytest.approx(STEP) and reader.timeless is not timed
    if timed:
        with pytest.raises(TrajectoryError, match=r"--interval is 10 ps, but .* own times, a frame every 500 fs"):
            TrajectoryReader(tmp_path / name, PDB, interval=10.0)
    else:
        with pytest.raises(TrajectoryError, match="give the time between its frames, such as --interval 10ps"):
            _ = TrajectoryReader(tmp_path / name, PDB).interval


def other_order(xyz: Floats) -> Floats:
    """Frames with two heavy atoms exchanged."""
    return np.asarray(xyz[:, [0, 4, 2, 3, 1, *range(5, ATOMS)]])


#: name of a file, how it is written, and what the one sentence says
REFUSED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "xtc in another order": ("a.xtc", lambda p: saved(p, other_order(XYZ)), "another order than in the topology"),
    "xtc in pieces": ("a.xtc", lambda p: saved(p, np.mod(XYZ - LOW - 0.2, 2).astype("f4")), "make molecules whole"),
    "XYZ in nm": ("a.xyz", lambda p: p.write_text(xyz_text().replace("0.", "0.0")), "unit|order|damaged"),
    "array in Å": ("a.npy", lambda p: np.save(p, 10 * XYZ), r"about 1[01] times as long as usual.*another unit"),
    "dcd in nm": ("a.dcd", lambda p: saved(p, 0.1 * XYZ), r"about 0\.11? times as long as usual.*another unit"),
    "LAMMPS in lj units": ("a.lammpstrj", lambda p: lammps(p, head="lj"), "units lj have no length"),
    "LAMMPS without ids": ("a.lammpstrj", lambda p: lammps(p, "type x y z"), "lack id"),
    "LAMMPS without positions": ("a.lammpstrj", lambda p: lammps(p, "id type x y"), "lack positions"),
    "LAMMPS in nm": ("a.lammpstrj", lambda p: lammps(p, scale=1.0), "another unit"),
    "XYZ in another order": (
        "a.xyz", lambda p: p.write_text(xyz_text(labels=SYMBOLS[::-1])), "Atom 1 in frame 0 .* Bring both"
    ),
    "XYZ of other atoms": ("a.xyz", lambda p: p.write_text("1\n\nHe 0 0 0\n" * 3), "has 1 atoms, the topology has 22"),
    "mdcrd of other atoms": ("a.mdcrd", lambda p: p.write_text("title\n" + "   0.000" * 9), "cannot be read"),
    "a table": ("a.csv", lambda p: p.write_text("1,2"), "no trajectory in a format that is read here"),
    "no name": ("trajectory", lambda p: p.write_bytes(b"abc"), "no trajectory in a format that is read here"),
    "a restart": ("a.rst7", lambda p: p.write_bytes(b"abc"), "no trajectory in a format that is read here"),
    "gzip that is none": ("a.xyz.gz", lambda p: p.write_text(xyz_text()), "cannot be read"),
    "pdb that is none": ("a.pdb.gz", lambda p: p.write_bytes(gzip.compress(b"nothing")), "cannot be read|no frames"),
}  # fmt: skip


# mdtraj leaves files open where it fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_wrong_files_are_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    name, write, message = REFUSED[case]
    write(tmp_path / name)
    with pytest.raises(TrajectoryError, match=message) as caught:
        TrajectoryReader(tmp_path / name, PDB, interval=STEP).positions()
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.xtc", saved), ("a.trr", saved), ("a.dcd", saved), ("b.dcd", lambda p: dcd(p, frames_stated=0)),
        ("a.nc", lambda p: netcdf(p, "good")), ("a.gro", lambda p: gro(p, True)), ("a.pdb", saved),
        ("a.xyz", lambda p: p.write_text(xyz_text())), ("a.lammpstrj", lammps), ("a.arc", lambda p: arc(p, True)),
        ("a.mdcrd", lambda p: mdcrd(p, False)), ("b.mdcrd", lambda p: mdcrd(p, True)),
        ("a.npy", lambda p: np.save(p, XYZ)),
    ],
)  # fmt: skip
def test_a_frame_that_was_cut_short_is_never_dropped_without_a_word(
    name: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path / name)
    data, path = (tmp_path / name).read_bytes(), tmp_path / f"cut-{name}"
    refused = 0
    for cut in np.linspace(2, len(data) / FRAMES * 0.9, 12).astype(int):
        path.write_bytes(data[:-cut])
        try:
            found = TrajectoryReader(path, PDB, interval=None if suffix_of(path) in TIMED else STEP).positions()
        except TrajectoryError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert len(found) == FRAMES and np.abs(found - XYZ).max() < 0.011, f"{cut} bytes less"
    assert refused >= 8


TIMED = (".xtc", ".trr", ".nc", ".gro", ".h5")


def test_names_of_files(tmp_path: Path) -> None:
    assert suffix_of(Path("A.Pdb.GZ")) == ".pdb" and suffix_of(Path("run.1.xtc")) == ".xtc"
    for name in ("b.xtc", "A.DCD", "c.dump.lammpstrj", "topology.pdb", "log.csv"):
        (tmp_path / name).touch()
    assert [p.name for p in trajectories_in(tmp_path)] == ["A.DCD", "b.xtc", "c.dump.lammpstrj"]
    assert set(FORMATS) >= {".xtc", ".dcd", ".lammpstrj"}


def test_hdf5_that_crashes_its_library_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a.h5")
    data = bytearray((tmp_path / "a.h5").read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(2000, len(data), size=400):  # inner tables and chunks
        data[place] ^= 0xFF
    (tmp_path / "a.h5").write_bytes(data)
    with pytest.raises(TrajectoryError, match=r"cannot be read as a \.h5 file") as caught:
        TrajectoryReader(tmp_path / "a.h5", PDB)
    assert "\n" not in str(caught.value)


def test_a_folder_with_a_space_and_an_umlaut(tmp_path: Path) -> None:
    folder = tmp_path / "Läufe für Tests"
    folder.mkdir()
    path = folder / "wälker.xtc"
    xyz = np.repeat(mdtraj.load(str(PDB)).xyz, 3, axis=0)
    with FrameWriter(path) as writer:
        writer.write(xyz, [1.0, 2.0, 3.0])
    (read,), interval = load_positions([path], PDB)
    assert interval == 1.0 and np.allclose(read, xyz, atol=6e-4)
    with ascii_path(path) as name:
        assert name.isascii() and mdtraj.load(name, top=str(PDB)).n_frames == 3
    assert not Path(name).exists() and path.exists()


def test_an_ascii_name_is_kept(tmp_path: Path) -> None:
    with ascii_path(tmp_path / "a b.xtc") as name:
        assert name == str(tmp_path / "a b.xtc")
