"""What the stages of a training share."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.io.atomic import OutputError
from latentmd.training.loop import append_rows
from latentmd.training.run import TrainingRun, claim_training, plot_training, read_log


def test_a_new_training_empties_the_folder_and_a_resumed_one_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "model-training"
    with claim_training(folder, {"settings": 1}, False):
        (folder / "jepa.pt").touch()
    with claim_training(folder, {"settings": 1}, True):
        assert (folder / "jepa.pt").exists()
    with pytest.raises(OutputError, match="settings"):
        claim_training(folder, {"settings": 2, "trajectories": 3}, True)
    with claim_training(folder, {"settings": 2}, False):
        assert not (folder / "jepa.pt").exists()


def test_a_resumed_run_remembers_wall_times(tmp_path: Path) -> None:
    def run(resume: bool) -> TrainingRun:
        return TrainingRun(tmp_path, tmp_path / "log.csv", lambda *_: None, "cpu", "32-true", devices=1, resume=resume)

    run(False).record("jepa", 1.26)
    later = run(True)
    later.record("decoder", 2.0)
    assert later.seconds == {"jepa": 1.3, "decoder": 2.0}


def test_a_repeated_step_counts_once_and_steps_are_sorted(tmp_path: Path) -> None:
    log = tmp_path / "training.csv"
    for step, value in ((2, 1.0), (1, 3.0), (2, 0.5)):
        append_rows(log, "jepa", step, {"prediction": value, "rank": 2.0, "std_min": 0.1, "std_mean": 0.2})
    assert read_log(log)["jepa"]["prediction"] == [(1, 3.0), (2, 0.5)]
    assert plot_training(log).startswith(b"\x89PNG")


def test_a_forecast_is_said_and_corrected_by_the_pace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = TrainingRun.of(tmp_path, lambda *_: None)
    run.say_forecast({"jepa": 600.0, "decoder": 300.0, "fast": 60.0})
    run.record("jepa", 1200.0)  # twice as long as was thought
    run.say_left("jepa")
    assert caplog.messages == [
        "training takes some 16 min on this machine: jepa 10 min, decoder 5 min, fast 60 s",
        "jepa took 20 min; some 12 min left",
    ]
