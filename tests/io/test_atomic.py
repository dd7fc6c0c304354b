"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.io.atomic import OutputError, replacing, write_bytes, write_json, write_npz, write_text


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    write_bytes(tmp_path / "b", b"\x00\xff")
    write_json(tmp_path / "j", {"a": [1, 2]})
    write_npz(tmp_path / "n.npz", {"x": np.arange(3), "y": np.eye(2)})
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert (tmp_path / "j").read_text() == '{\n  "a": [\n    1,\n    2\n  ]\n}\n'
    with np.load(tmp_path / "n.npz") as read:
        assert read["x"].tolist() == [0, 1, 2] and np.array_equal(read["y"], np.eye(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "j", "n.npz"]


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        write_text(tmp_path / "none" / "f", "x")


def test_full_disk_while_replacing_a_text_file(tmp_path: Path, file_size_limit: None) -> None:
    path = tmp_path / "summary.json"
    write_text(path, "{}")
    with pytest.raises(OutputError, match="writing failed"):
        write_text(path, "x" * 30_000)
    assert path.read_text() == "{}"
    assert list(tmp_path.iterdir()) == [path]
