"""Folders that evaluations write to."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.analysis.features import EvaluationError
from latentmd.evaluation.settings import prepared_folder


def test_earlier_results_are_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = prepared_folder(tmp_path / "a" / "b", False)
    assert folder.is_dir()
    (folder / "evaluation.json").touch()
    assert prepared_folder(folder, False, "latents.json") == folder
    with pytest.raises(EvaluationError, match=r"holds evaluation.json already; pass --overwrite or another --out"):
        prepared_folder(folder, False)
    assert prepared_folder(folder, True) == folder


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EvaluationError, match="cannot make this folder"):
        prepared_folder(tmp_path / "file" / "out", False)
