"""Folder of exact chains: new, resumed, replaced or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.io.atomic import OutputError
from latentmd.io.folder import RECORD, Policy
from latentmd.sampling.metropolis.folder import SUMMARY, ChainsFolder, open_folder


def _open(path: Path, policy: Policy, seed: int = 1) -> ChainsFolder:
    folder, lock = open_folder(path, {"seed": seed}, policy)
    lock.release()
    return folder


def test_new_resumed_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run"
    first = _open(path, "new")
    (path / SUMMARY).write_text("{}")
    assert _open(path, "resume") == first and (path / SUMMARY).exists()
    with pytest.raises(OutputError, match="another seed"):
        _open(path, "resume", 2)
    with pytest.raises(OutputError, match=r"--resume to go on .* or another --out"):
        _open(path, "new")
    (path / "notes.txt").write_text("mine")
    _open(path, "overwrite", 2)
    assert not (path / SUMMARY).exists() and (path / "notes.txt").read_text() == "mine"
    assert "2" in (path / RECORD).read_text()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    _, lock = open_folder(tmp_path / "run", {}, "new")
    with lock, pytest.raises(OutputError, match="another run writes to"):
        open_folder(tmp_path / "run", {}, "resume")


def test_arrays_are_made_by_the_first_session_only(tmp_path: Path) -> None:
    folder = _open(tmp_path / "run", "new")
    first = folder.made_once("a/b.npz", lambda: {"x": np.arange(3)})
    again = folder.made_once("a/b.npz", lambda: {"x": np.arange(5)})
    assert first["x"].size == again["x"].size == 3
