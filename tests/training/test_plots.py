"""The training log and its picture."""

from __future__ import annotations

from pathlib import Path

from latentmd.training.loop import append_rows
from latentmd.training.plots import plot_training, read_log


def test_a_repeated_step_counts_once_and_steps_are_sorted(tmp_path: Path) -> None:
    log = tmp_path / "training.csv"
    for step, value in ((2, 1.0), (1, 3.0), (2, 0.5)):
        append_rows(log, "jepa", step, {"prediction": value, "rank": 2.0, "std_min": 0.1, "std_mean": 0.2})
    assert read_log(log)["jepa"]["prediction"] == [(1, 3.0), (2, 0.5)]
    plot_training(log, tmp_path / "training.png")
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
