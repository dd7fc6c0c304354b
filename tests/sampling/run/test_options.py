"""Options: times, frames, and what no run can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.sampling.run.options import RunOptions, WalkerOptions, picoseconds


def test_times_are_text_or_picoseconds() -> None:
    assert picoseconds("2ns") == 2000.0 and picoseconds(3) == 3.0
    with pytest.raises(ValueError, match="has no unit"):
        picoseconds("2")


def test_frames_are_time_over_interval() -> None:
    settings = WalkerOptions(mode="md", time=0.3, interval=0.1, walkers=1, out=Path("x"))
    assert settings.frames == 3


@pytest.mark.parametrize(("option", "found"), [("wall", "--wall is 0 s"), ("processes", "--processes is 0")])
def test_what_is_not_positive_is_refused(option: str, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        RunOptions(out=Path("x"), **{option: 0})
