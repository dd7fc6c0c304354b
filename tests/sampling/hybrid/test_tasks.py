"""Tasks: decided by their arguments, errors as reasons, and only what is missing is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from latentmd.arrays import Floats
from latentmd.sampling.contracts import Burst, Relaxed
from latentmd.sampling.hybrid.tasks import (
    BATCH,
    BURST,
    RELAX,
    BurstWork,
    Task,
    keyed_rng,
    keyed_seed,
    relax_all,
    run_burst,
    run_relax,
    simulate_missing,
)
from latentmd.sampling.scheduler import Serial
from latentmd.worlds.landscapes import ToyEngine, double_well

ENGINE = ToyEngine(double_well(barrier=2.0), 5)


class Kept:
    """A store in memory."""

    def __init__(self) -> None:
        self.bursts: dict[tuple[int, int], Burst | str] = {}

    def has_burst(self, round_: int, task: int) -> bool:
        return (round_, task) in self.bursts

    def write_burst(self, round_: int, task: int, burst: Burst | str) -> None:
        assert not self.has_burst(round_, task)
        self.bursts[round_, task] = burst


def test_keys_tell_purposes_rounds_and_tasks_apart() -> None:
    keys = [(s, r, p, t) for s in (0, 1) for r in (0, 1) for p in (RELAX, BURST) for t in (0, 1)]
    assert len({keyed_seed(*key) for key in keys}) == len(keys)
    assert keyed_rng(3, 2, BURST, 1).integers(1000) == keyed_rng(3, 2, BURST, 1).integers(1000)
    assert all(0 <= keyed_seed(*key) < 2**31 for key in keys)


def test_an_explosion_is_a_reason_and_a_wrong_length_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(ENGINE, np.array([-1.0]), 4, 1)
    burst = run_burst(task)
    assert isinstance(burst, Burst) and len(burst.positions) == 4
    assert isinstance(run_burst(replace(task, start=np.array([np.nan]))), str)
    assert isinstance(run_relax(replace(task, start=np.array([np.nan]))), str)
    monkeypatch.setattr(ToyEngine, "burst", lambda *_: Burst(np.zeros((3, 1)), np.zeros(3)))
    with pytest.raises(ValueError, match="returned 3 frames and 3 energies; expected 4 of each"):
        run_burst(task)


class Together(ToyEngine):
    """Relaxes all structures at once, and counts how often it is asked to."""

    calls: ClassVar[list[int]] = []

    def bursts(self, starts: Floats, frames: int, seeds: Sequence[int]) -> list[Burst | str]:
        return [self.burst(start, frames, seed) for start, seed in zip(starts, seeds, strict=True)]

    def relaxations(self, starts: Floats, seeds: Sequence[int]) -> list[Relaxed | str]:
        self.calls.append(len(starts))
        return [self.relax(x, s) if np.isfinite(x).all() else "exploded" for x, s in zip(starts, seeds, strict=True)]


def test_structures_are_relaxed_together_where_the_engine_can() -> None:
    starts, seeds = np.linspace(-1.0, 1.0, BATCH + 3)[:, None], range(BATCH + 3)
    starts[4] = np.nan
    apart = list(relax_all(ENGINE, starts, seeds, Serial()))
    together = list(relax_all(Together(double_well(barrier=2.0), 5), starts, seeds, Serial()))
    assert Together.calls == [BATCH, 3]
    assert together[4] == "relaxation: exploded" and isinstance(apart[4], str)
    for one, other in zip(apart[:4] + apart[5:], together[:4] + together[5:], strict=True):
        assert isinstance(one, Relaxed) and isinstance(other, Relaxed)
        np.testing.assert_array_equal(one.positions, other.positions)


def test_only_missing_bursts_are_simulated_and_a_stop_is_obeyed() -> None:
    work, store = BurstWork(ENGINE, np.full((3, 1), -1.0), 4, seed=1, round_=2), Kept()
    stops = iter([False, True])
    assert not simulate_missing(work, store, Serial(), lambda: next(stops))
    assert list(store.bursts) == [(2, 0)]
    assert simulate_missing(work, store, Serial(), lambda: False) and len(store.bursts) == 3
    whole = Kept()
    assert simulate_missing(work, whole, Serial(), lambda: False)
    for key, burst in whole.bursts.items():
        other = store.bursts[key]
        assert isinstance(burst, Burst) and isinstance(other, Burst)
        np.testing.assert_array_equal(burst.positions, other.positions)
