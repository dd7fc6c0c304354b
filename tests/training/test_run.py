"""What the stages of a training share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentmd.training.run import Run, prepare_folder


def test_a_new_training_empties_the_folder_and_a_resumed_one_does_not(tmp_path: Path) -> None:
    prepare_folder(tmp_path, {"settings": 1}, False)
    (tmp_path / "jepa.pt").touch()
    (tmp_path / "mine.txt").touch()
    prepare_folder(tmp_path, {"settings": 1}, True)
    assert (tmp_path / "jepa.pt").exists()
    with pytest.raises(ValueError, match="other settings and trajectories"):
        prepare_folder(tmp_path, {"settings": 2, "trajectories": 3}, True)
    prepare_folder(tmp_path, {"settings": 2}, False)
    assert not (tmp_path / "jepa.pt").exists() and (tmp_path / "mine.txt").exists()
    assert json.loads((tmp_path / "plan.json").read_text()) == {"settings": 2}


def test_a_resumed_run_remembers_wall_times(tmp_path: Path) -> None:
    def run(resume: bool) -> Run:
        return Run(tmp_path, tmp_path / "log.csv", lambda *_: None, "cpu", "32-true", devices=1, resume=resume)

    run(False).record("jepa", 1.26)
    later = run(True)
    later.record("decoder", 2.0)
    assert later.seconds == {"jepa": 1.3, "decoder": 2.0}
