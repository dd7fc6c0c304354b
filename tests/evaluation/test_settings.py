"""Settings of an evaluation: baselines have their names, defaults are what a user gets without a word."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from latentmd.evaluation.settings import ASSUMED_TEMPERATURE, DEFAULTS, FRAME_BASELINES, MODEL_BASELINES


def test_nothing_is_assumed_of_files_unless_it_is_said() -> None:
    assert DEFAULTS.temperature is None and DEFAULTS.interval is None and not DEFAULTS.resample
    assert DEFAULTS.baselines == ("auto",) and ASSUMED_TEMPERATURE == 350.0
    with pytest.raises(FrozenInstanceError):
        DEFAULTS.lag = 1.0  # type: ignore[misc]


def test_baselines_of_frames_and_of_models_are_different_ones() -> None:
    assert not set(FRAME_BASELINES) & set(MODEL_BASELINES)
