"""Wells of one torsion: cuts at the minima of its density, and maxima that do not count."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.arrays import Floats
from latentmd.sampling.metropolis.density import intervals, smoothed


def _draws(centres: list[float], spread: float, count: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.choice(centres, count) + spread * rng.standard_normal(count))


def test_smoothing_keeps_the_count_and_is_a_gaussian() -> None:
    under = smoothed(np.full(50, 90.5), 360.0)
    assert under.argmax() == 90 and under.max() == pytest.approx(50 * np.sqrt(2), rel=1e-3)
    assert under[98] / under.max() == pytest.approx(np.exp(-0.5), rel=1e-2) and under.min() > 0
    np.testing.assert_allclose(smoothed(np.full(50, 0.25), 180.0), smoothed(np.full(50, 180.25), 180.0))


def test_cuts_lie_at_the_minima() -> None:
    """Two wells of equal width: minima half way between, on both sides of the circle."""
    found = intervals(_draws([60.0, 180.0], 15.0, 20000), 360.0)
    assert [round(part.centre / 10) for part in found] == [6, 18]
    assert found[0].high == pytest.approx(120.0, abs=6) and found[0].low == pytest.approx(-60.0, abs=15)
    assert found[1].low % 360 == pytest.approx(found[0].high) and found[1].high - found[1].low < 360


def test_cuts_do_not_depend_on_where_the_circle_begins() -> None:
    draws = _draws([0.0, 120.0, 220.0], 12.0, 5000)
    whole, turned = intervals(draws, 360.0), intervals(draws + 37.0, 360.0)
    widths = sorted(part.high - part.low for part in whole)
    assert len(whole) == 3 and sum(widths) == pytest.approx(360.0)
    np.testing.assert_allclose(sorted(part.high - part.low for part in turned), widths, atol=1e-9)


@pytest.mark.parametrize("apart", [16.0, 24.0, 80.0])
def test_a_barrier_of_less_than_kt_is_none(apart: float) -> None:
    """Two Gaussians of width s at distance d: the middle has 2 exp(-d² / 8 s²) of either, s with the kernel."""
    found = intervals(_draws([100.0, 100.0 + apart], 12.0, 40000), 360.0)
    middle = 2 * np.exp(-(apart**2) / 8 / (12.0**2 + 8.0**2))
    assert len(found) == (2 if middle < np.exp(-1) else 1)


def test_noise_makes_no_wells() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        few = np.concatenate([_draws([90.0], 20.0, 150, seed), rng.uniform(0, 360, 4)])
        assert len(intervals(few, 360.0)) == 1
        assert len(intervals(rng.uniform(0, 360, 400), 360.0)) == 1


def test_a_small_well_behind_a_high_barrier_counts() -> None:
    found = intervals(np.concatenate([_draws([200.0], 12.0, 5000), _draws([60.0], 10.0, 40)]), 360.0)
    assert [round(part.centre / 10) for part in found] == [6, 20]


def test_the_only_well_is_the_circle() -> None:
    (one,) = intervals(np.full(100, -90.0), 360.0)
    assert one.high - one.low == 360 and one.centre == pytest.approx(270.5)
    (folded,) = intervals(_draws([10.0, 190.0], 10.0, 1000), 180.0)
    assert folded.high - folded.low == 180 and folded.centre == pytest.approx(10.0, abs=4)
