"""The recipe of a surrogate trained on bursts: times that fit them, frames held out, effort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.sampling.hybrid.training import Recipe
from latentmd.systems.builder import Protocol

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def _recipe(effort: float = 1.0) -> Recipe:
    return Recipe(ALANINE, Protocol(temperature=310.0), 0.1, 50, effort)


@pytest.mark.parametrize("frames", [10, 50, 500])
def test_lags_fit_into_the_bursts(frames: int) -> None:
    config, length = _recipe().config(frames, 40, seed=3), frames * 0.1
    for shortest, longest in (config.jepa.lag, config.predictor.lag):
        assert shortest == 0.1 <= longest <= max(0.1, length / 3)
    assert config.latent.lag <= max(0.1, length / 4)
    assert config.stride == 0.1 and config.seed == 3 and config.temperature == 310.0


def test_effort_scales_the_steps_down_to_fifty() -> None:
    full, half, none = (_recipe(effort).config(50, 40, seed=0) for effort in (1.0, 0.5, 0.0))
    assert half.jepa.steps == full.jepa.steps // 2 and half.decoder.steps == full.decoder.steps // 2
    assert none.jepa.steps == none.decoder.steps == none.predictor.steps == 50


def test_some_bursts_are_held_out() -> None:
    few, many = (_recipe().config(50, count, seed=0).holdout for count in (2, 400))
    assert few == 1 < many < 200


def test_at_most_four_hundred_are_chosen_in_random_order() -> None:
    bursts = [np.full((3, 2, 3), i, dtype=np.float64) for i in range(500)]
    chosen = _recipe().chosen(bursts, seed=1)
    numbers = [int(b[0, 0, 0]) for b in chosen]
    assert len(chosen) == 400 == len(set(numbers)) and numbers != sorted(numbers)
    assert max(numbers) > 400 and all(b.dtype == np.float32 for b in chosen)
    assert [int(b[0, 0, 0]) for b in _recipe().chosen(bursts, seed=1)] == numbers
    assert _recipe().topology.n_atoms == 22
