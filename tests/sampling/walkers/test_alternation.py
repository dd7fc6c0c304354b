"""Cycles of alternation: segments end on frames, and lengths that do not fit are refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from latentmd.sampling.run.options import WalkerOptions
from latentmd.sampling.walkers.plan import cycle_length, cycle_plan


@pytest.mark.parametrize(
    ("length", "burst", "interval", "expected"),
    [
        (300.0, 2.0, 100.0, "latent 100*, latent 100*, latent 98, md 2*"),
        (100.0, 2.0, 100.0, "latent 98, md 2*"),
        (300.0, 150.0, 100.0, "latent 100*, latent 50, md 50*, md 100*"),
        (300.0, 100.0, 100.0, "latent 100*, latent 100*, md 100*"),
    ],
)
def test_cycles_end_on_frames(length: float, burst: float, interval: float, expected: str) -> None:
    plan = cycle_plan(length, burst, interval)
    assert ", ".join(f"{s.kind} {s.duration:g}{'*' * s.save}" for s in plan) == expected
    assert sum(s.duration for s in plan) == pytest.approx(length)


def length(**options: Any) -> float:
    shared = {"mode": "model", "walkers": 1, "seed": 0, "processes": 1, "out": Path("out"), "overwrite": False}
    settings = WalkerOptions(**{**shared, "time": 10_000.0, "interval": 100.0, **options})
    manifest: Any = SimpleNamespace(lag=(5.0, 50.0))
    return cycle_length(settings, manifest, 0.004)


def test_the_default_cycle_is_about_a_nanosecond() -> None:
    assert length() == 1000.0 and length(time=300.0) == 300.0 and length(interval=300.0, time=9000.0) == 900.0
    assert length(mode="latent") == 100.0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cycle": 250.0}, "--cycle is 250 ps; expected a multiple of --save-every"),
        ({"cycle": 100.0, "burst": 100.0}, "--burst is 100 ps; expected less than the cycle"),
        ({"burst": 2.001}, "expected a multiple of the time step"),
        ({"interval": 3.0}, "--save-every is 3 ps; the model's steps are 5 ps to 50 ps"),
        ({"cycle": 100.0, "burst": 98.0}, "the last latent step of a cycle would be 2 ps"),
    ],
)
def test_lengths_that_do_not_fit(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        length(**options)
