"""DCD files: records, fixed atoms, and damage."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from latentmd.io.dialects import CutShortError, DcdFile

sys.path.insert(0, str(Path(__file__).parent))
from dialects import ATOMS, FRAMES, XYZ, dcd


def test_blocks_hold_all_frames_and_boxes(tmp_path: Path) -> None:
    dcd(tmp_path / "a.dcd", cell="namd")
    file = DcdFile(tmp_path / "a.dcd")
    blocks = list(file.blocks(4))
    assert (file.n_atoms, file.n_frames) == (ATOMS, FRAMES) and [len(x) for x, _ in blocks] == [4, 2]
    assert np.allclose(np.concatenate([x for x, _ in blocks]), XYZ, atol=1e-6)
    assert np.allclose(blocks[0][1], 4 * np.eye(3), atol=1e-6)


def test_atoms_that_charmm_holds_fixed_are_stored_once(tmp_path: Path) -> None:
    dcd(tmp_path / "a.dcd", cell="xplor")
    data = (tmp_path / "a.dcd").read_bytes()
    free = ATOMS - 2

    def block(body: bytes) -> bytes:
        return struct.pack("<i", len(body)) + body + struct.pack("<i", len(body))

    head = data[:40] + struct.pack("<i", 2) + data[44:196]
    first = data[196 : 196 + 3 * (8 + 4 * ATOMS)]
    later = [block((10 * frame[2:, k]).astype("<f4").tobytes()) for frame in XYZ[1:] for k in range(3)]
    names = block(np.arange(3, ATOMS + 1, dtype="<i4").tobytes())
    (tmp_path / "b.dcd").write_bytes(head + names + first + b"".join(later))
    found = np.concatenate([x for x, _ in DcdFile(tmp_path / "b.dcd").blocks(10)])
    assert len(found) == FRAMES and free == 20
    assert np.allclose(found[:, 2:], XYZ[:, 2:], atol=1e-6) and np.allclose(found[:, :2], XYZ[:1, :2], atol=1e-6)


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.dcd"
    dcd(path, frames_stated=4)
    with pytest.raises(CutShortError, match="states 4 frames, it holds 6"):
        DcdFile(path)
    dcd(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="frame 5 has a damaged record"):
        list(DcdFile(path).blocks(10))
    path.write_bytes(b"CORD" * 40)
    with pytest.raises(ValueError, match="does not begin as a DCD file does"):
        DcdFile(path)
