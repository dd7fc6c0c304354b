"""Requests: times and frames."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.sampling.request import RolloutSettings, picoseconds


def test_times_are_text_or_picoseconds() -> None:
    assert picoseconds("2ns") == 2000.0 and picoseconds(3) == 3.0
    with pytest.raises(ValueError, match="has no unit"):
        picoseconds("2")


def test_frames_are_time_over_interval() -> None:
    settings = RolloutSettings("md", 0.3, 0.1, 1, 0, processes=None, out=Path("x"), overwrite=False)
    assert settings.frames == 3
