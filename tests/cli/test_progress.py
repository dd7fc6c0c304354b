"""Display of the commands: rate and time left, losses, rows of rounds, and silence where nobody looks."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from latentmd.cli.progress import Display


def shown(display: Display) -> str:
    text = io.StringIO()
    Console(file=text, width=120).print(display.bar.get_renderable())
    return text.getvalue()


def test_the_bar_shows_a_stage_its_rate_and_the_time_left() -> None:
    with Display() as display:
        now = 0.0
        display.bar.get_time = lambda: now
        for now in range(5):
            display("rolling out", 10.0 * now, 100.0)
        assert "rolling out" in shown(display) and "10/s" in shown(display) and "0:00:06" in shown(display)
        display("comparing")
        assert "comparing" in shown(display) and "rolling out" not in shown(display)


def test_simulated_times_have_units() -> None:
    with Display(picoseconds=True) as display:
        display("simulating", 500.0, 2000.0)
        assert "500 ps of 2 ns" in shown(display)


def test_stages_of_a_training_stay_with_their_losses() -> None:
    with Display(keep=True) as display:
        display("jepa", 10, 10, {"loss": 0.5})
        display("decoder", 1, 10, {"angle": 0.25})
        assert "loss 0.5" in shown(display) and "angle 0.25" in shown(display)


def test_without_a_terminal_a_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Display(picoseconds=True) as display:
        now = 0.0
        display.bar.get_time = lambda: now
        monkeypatch.setattr("latentmd.cli.progress.time.monotonic", lambda: now)
        for now in range(301):
            display("simulating", 10.0 * now, 6000.0)
        display("drawing the report")
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0] == "simulating" and lines[-1] == "drawing the report"
    assert lines[1] == "simulating: 0.833 %, 50 ps of 6 ns, 0.01 ns/s, 9.9 min left"
    seconds = [float(line.split(" %")[0].split(": ")[1]) * 6 for line in lines[1:-1]]
    assert [round(s) for s in seconds] == [5, 15, 35, 75, 135, 195, 255]
