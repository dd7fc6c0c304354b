"""What the rounds begin with: settings in frames, and the bursts of round 0, made once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from latentmd.sampling.contracts import Burst
from latentmd.sampling.hybrid.bootstrap import BootstrapError
from latentmd.sampling.hybrid.starts import clock_of, core_settings, first_bursts
from latentmd.sampling.request import HybridSettings
from latentmd.sampling.scheduler import open_scheduler
from latentmd.worlds.landscapes import ToyEngine, double_well


def _run(folder: Path, engine: Any = None, **settings: Any) -> Any:
    """As much of a HybridRun as is looked at; the molecule is a toy."""
    return SimpleNamespace(
        folder=folder, settings=HybridSettings(**settings), seed=4, engine=engine, model=None,
        stop=lambda: False, report=lambda *_: None,
    )  # fmt: skip


def test_settings_become_frames(tmp_path: Path) -> None:
    run = _run(tmp_path, interval=0.05, burst=2.0, relaxation=0.2, lag=0.3, starts=7, precision=0.5)
    core = core_settings(run, 100.0)
    assert (core.frames, core.relaxation, core.lag) == (40, 4, 6)
    assert core.starts == 7 and core.seed == 4 and core.criteria.precision == 0.5
    assert core_settings(run, -5.0).time == 1.0
    assert core_settings(_run(tmp_path, surrogate=False), 100.0).proposals == 0.0


class Watched(ToyEngine):
    """Counts its bursts, and fails those that start left of zero where asked to."""

    def __init__(self, failing: bool = False) -> None:
        super().__init__(double_well(), 5)
        self.failing, self.made = failing, 0

    def burst(self, start: Any, frames: int, seed: int) -> Burst:
        self.made += 1
        if self.failing:
            raise FloatingPointError
        return super().burst(start, frames, seed)


def test_bursts_of_round_0_are_made_once(tmp_path: Path) -> None:
    engine = Watched()
    run = _run(tmp_path, engine, interval=1.0, burst=20.0, relaxation=2.0, lag=3.0, starts=5, surrogate=False)
    core, starts = core_settings(run, 1000.0), np.array([[-1.0], [1.0]])
    with open_scheduler(None, 1) as tasks:
        bursts = first_bursts(run, core, starts, tasks)
        made = engine.made
        again = first_bursts(run, core, starts, tasks)
    assert engine.made == made
    assert all(burst.positions.shape == (20, 1) for burst in bursts)
    for one, other in zip(bursts, again, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)


def test_the_clock_is_kept_in_the_folder(tmp_path: Path) -> None:
    run = _run(tmp_path)
    (tmp_path / "bootstrap").mkdir()
    with clock_of(run).phase("starts"):
        pass
    assert set(clock_of(run).seconds) == {"starts"}


def test_nothing_to_begin_with_is_an_error(tmp_path: Path) -> None:
    from latentmd.sampling.contracts import BurstError

    class Failing(ToyEngine):
        def burst(self, start: Any, frames: int, seed: int) -> Burst:
            raise BurstError("exploded")

    run = _run(tmp_path, Failing(double_well(), 5), interval=1.0, burst=20.0, relaxation=2.0, lag=3.0, starts=3)
    with open_scheduler(None, 1) as tasks, pytest.raises(BootstrapError, match="exploded"):
        first_bursts(run, core_settings(run, 1000.0), np.array([[-1.0]]), tasks)
