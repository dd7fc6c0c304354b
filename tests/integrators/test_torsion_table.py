"""Tables of torsions: draws have the density that is told, jumps leave the neighbourhood, wrong tables are named."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.integrators.torsion_blocks import TorsionTable


@pytest.mark.parametrize(("torsions", "least"), [(1, 3), (2, 3), (2, (4, 18)), (2, -1)])
def test_draws_have_the_density_that_is_told(torsions: int, least: int | tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    table = TorsionTable(rng.random((36,) * torsions) + 0.1, least)
    here = rng.uniform(-np.pi, np.pi, torsions)
    drawn = np.array([table.draw(here, rng) for _ in range(4000)])
    side = (drawn[:, 0] > 0.5) & (drawn[:, -1] < 1.0)
    # the integral of q over the same part, from uniform places
    places = rng.uniform(-np.pi, np.pi, (40000, torsions))
    density = np.exp([table.log_density(place, here) for place in places]) * (2 * np.pi) ** torsions
    assert density.mean() == pytest.approx(1.0, abs=0.03)
    part = (places[:, 0] > 0.5) & (places[:, -1] < 1.0)
    assert side.mean() == pytest.approx((density * part).mean(), abs=0.04)


def test_a_jump_leaves_the_neighbourhood_around_the_circle() -> None:
    rng, table = np.random.default_rng(2), TorsionTable.uniform(1, least=4)
    here = np.array([-3.1])
    away = [abs(np.angle(np.exp(1j * (table.draw(here, rng)[0] - here[0])))) for _ in range(300)]
    assert min(away) > np.deg2rad(40)
    assert table.log_density(np.array([3.1]), here) == -np.inf
    far = np.array([0.0])
    assert table.log_density(far, here) == table.log_density(here, far)  # uniform: both ways alike


def test_the_density_of_samples_is_flattened_but_never_zero() -> None:
    rng = np.random.default_rng(3)
    table = TorsionTable.from_samples(rng.vonmises(1.0, 8.0, (5000, 1)), least=-1, power=1.0, smooth=0.0)
    angles = np.linspace(-3, 3, 60)[:, None]
    told = np.array([table.log_density(a, a) for a in angles])
    assert np.isfinite(told).all() and abs(angles[told.argmax(), 0] - 1.0) < 0.3
    flat = TorsionTable.from_samples(rng.vonmises(1.0, 8.0, 5000), least=-1)
    assert np.ptp([flat.log_density(a, a) for a in angles]) < np.ptp(told)


def test_wrong_tables_are_named() -> None:
    with pytest.raises(ValueError, match="shape \\(3, 4\\)"):
        TorsionTable(np.ones((3, 4)))
    with pytest.raises(ValueError, match="the least is 0"):
        TorsionTable(np.r_[0.0, np.ones(35)])
    with pytest.raises(ValueError, match="cells beyond it"):
        TorsionTable.uniform(1, least=18)
    with pytest.raises(ValueError, match="samples"):
        TorsionTable.from_samples(np.empty((0, 2)))
