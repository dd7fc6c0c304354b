"""Folder of a hybrid run: new, resumed, replaced or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.io.outputs import OutputError
from latentmd.sampling.hybrid.folder import REQUEST, SUMMARY, open_folder, write_npz


def test_new_resumed_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run"
    first = open_folder(path, {"seed": 1}, resume=False, overwrite=False)
    (path / SUMMARY).write_text("{}")
    assert open_folder(path, {"seed": 1}, resume=True, overwrite=False) == first and (path / SUMMARY).exists()
    with pytest.raises(OutputError, match="another seed"):
        open_folder(path, {"seed": 2}, resume=True, overwrite=False)
    with pytest.raises(OutputError, match=r"--resume to go on .* or another --out"):
        open_folder(path, {"seed": 1}, resume=False, overwrite=False)
    (path / "notes.txt").write_text("mine")
    open_folder(path, {"seed": 2}, resume=False, overwrite=True)
    assert not (path / SUMMARY).exists() and (path / "notes.txt").read_text() == "mine"
    assert "2" in (path / REQUEST).read_text()


def test_foreign_folders_and_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty; give another --out"):
        open_folder(tmp_path, {}, resume=True, overwrite=True)
    with pytest.raises(OutputError, match="is a file; expected a folder"):
        open_folder(tmp_path / "notes.txt", {}, resume=False, overwrite=False)


def test_arrays_are_made_by_the_first_session_only(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "run", {}, resume=False, overwrite=False)
    first = folder.made_once("a/b.npz", lambda: {"x": np.arange(3)})
    again = folder.made_once("a/b.npz", lambda: {"x": np.arange(5)})
    assert first["x"].size == again["x"].size == 3


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="writing failed"):
        write_npz(tmp_path / "missing" / "a.npz", {"x": np.zeros(1)})
    assert list(tmp_path.iterdir()) == []
