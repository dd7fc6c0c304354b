"""The platform is chosen by timing."""

from __future__ import annotations

from typing import Any

import pytest

from latentmd.systems import platforms


def test_reference_and_cpu_are_always_there() -> None:
    assert {"Reference", "CPU"} <= set(platforms.platforms())


def test_the_fastest_wins(alanine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"Reference": 1.0, "CPU": 2.0}
    monkeypatch.setattr(platforms, "platforms", lambda: list(rates))
    monkeypatch.setattr(platforms, "time_platform", lambda molecule, name, threads=None: rates[name])
    assert platforms.fastest_platform(alanine) == "CPU"


def test_timing_measures_steps(alanine: Any) -> None:
    assert platforms.time_platform(alanine, "Reference", 0.02) > 0
