"""Names in ASCII for files whose own are not."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np

from latentmd.io.ascii import ascii_path
from latentmd.io.trajectory import load_positions
from latentmd.io.writer import FrameWriter

TOP = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def test_a_folder_with_a_space_and_an_umlaut(tmp_path: Path) -> None:
    folder = tmp_path / "Läufe für Tests"
    folder.mkdir()
    path = folder / "wälker.xtc"
    xyz = np.repeat(mdtraj.load(str(TOP)).xyz, 3, axis=0)
    with FrameWriter(path) as writer:
        writer.write(xyz, [1.0, 2.0, 3.0])
    (read,), interval = load_positions([path], TOP)
    assert interval == 1.0 and np.allclose(read, xyz, atol=6e-4)
    with ascii_path(path) as name:
        assert name.isascii() and mdtraj.load(name, top=str(TOP)).n_frames == 3
    assert not Path(name).exists() and path.exists()


def test_an_ascii_name_is_kept(tmp_path: Path) -> None:
    with ascii_path(tmp_path / "a b.xtc") as name:
        assert name == str(tmp_path / "a b.xtc")
