"""Wells of torsions: where chains are cut, what is inside, and what symmetry makes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from openmm import app

from latentmd.arrays import Floats
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.metropolis.wells import (
    Turn,
    Well,
    can_turn,
    intervals,
    mirror_pairs,
    recorded_torsions,
    smoothed,
    symmetric_names,
    turns_of,
    wells,
)

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"
TURN = Turn("torsion", 0)


def _turns(name: str) -> tuple[Turn, ...]:
    file = app.PDBFile(str(MOLECULES / f"{name}.pdb"))
    return turns_of(file.topology, np.asarray(file.positions._value))


def _draws(centres: list[float], shares: list[float], spread: float = 12.0, count: int = 4000) -> Floats:
    """Torsions in radians around some centres in degrees, shape (count, 1)."""
    rng = np.random.default_rng(0)
    middle = np.array(centres)[rng.choice(len(centres), count, p=shares)]
    return np.deg2rad(middle + spread * rng.standard_normal(count))[:, None]


def test_inside_wraps_around() -> None:
    angles = np.deg2rad(np.array([[-181.0], [-180.0], [-121.0], [-120.0], [0.0], [59.9], [60.0], [179.9]]))
    assert Well("", TURN, -120.0, 60.0).inside(angles).tolist() == [False] * 3 + [True] * 3 + [False] * 2
    assert Well("", TURN, 120.0, 240.0).inside(angles).tolist() == [True] * 3 + [False] * 4 + [True]


def test_wells_of_a_side_chain_are_the_circle() -> None:
    turn = Turn("chi1", 0, staggered=True)
    found = wells([turn], _draws([60.0, 180.0, -60.0], [0.1, 0.3, 0.6]))
    assert [well.name for well in found] == ["chi1 g+", "chi1 t", "chi1 g-"]
    angles = np.random.default_rng(0).uniform(-4, 4, (500, 1))
    assert np.array([well.inside(angles) for well in found]).sum(axis=0).tolist() == [1] * 500


def test_a_well_is_not_cut_through_its_middle() -> None:
    """A flat torsion with minima at 0 and 180: half of the molecules each, and neither in two parts."""
    found = wells([TURN], _draws([0.0, 180.0], [0.5, 0.5]))
    assert sorted(well.name for well in found) == ["torsion near 0°", "torsion near 180°"]
    assert all(abs(abs(well.low % 180) - 90) < 15 for well in found)


def test_half_a_turn_of_a_symmetric_group_changes_nothing() -> None:
    turn = Turn("N-C-N-H", 0, period=180.0)
    (found,) = wells([turn], _draws([0.0, 180.0], [0.3, 0.7]))
    assert found.only and found.name == "N-C-N-H near 0°, 180°"
    assert symmetric_names([turn, TURN]) == ["half a turn changes nothing: N-C-N-H"]
    well, angles = Well("", turn, 120.0, 180.0), np.random.default_rng(0).uniform(-4, 4, (500, 1))
    np.testing.assert_array_equal(well.inside(angles), well.inside(angles + np.pi))


def test_a_pyramid_that_inverts_stays_in_its_well() -> None:
    """The line through both hydrogens of NH2 is the same for both hands; the torsion of one hydrogen is not."""
    turn = Turn("C-C-N-H", 0, period=180.0, twin=1)
    lone_pair = np.array([60.0, 180.0, 300.0])
    one = np.deg2rad(np.column_stack([lone_pair + 120, lone_pair + 240]))
    np.testing.assert_allclose(turn.degrees(one) % 180, turn.degrees(one[:, ::-1]) % 180, atol=1e-9)
    assert sorted(np.round(turn.degrees(one) % 180).tolist()) == [30.0, 90.0, 150.0]
    flat = np.deg2rad(np.array([[20.0, 200.0], [-100.0, 80.0]]))
    np.testing.assert_allclose(turn.degrees(flat) % 180, [20.0, 80.0], atol=1e-9)


def test_wells_of_mirror_images_are_cut_alike() -> None:
    turn = Turn("torsion", 0, staggered=True, mirror=("torsion", 0.0))
    found = wells([turn], _draws([70.0, 180.0, -70.0], [0.2, 0.6, 0.2], spread=15.0, count=600))
    names = [well.name for well in found]
    assert names == ["torsion g+", "torsion t", "torsion g-"]
    (pair,) = mirror_pairs(found)
    assert {names[i] for i in pair} == {"torsion g+", "torsion g-"}
    plus, minus = (found[i] for i in sorted(pair))
    assert (plus.low + minus.high) % 360 == pytest.approx(0) and (plus.high + minus.low) % 360 == pytest.approx(0)


def test_names_stay_apart() -> None:
    found = wells([Turn("chi", 0, staggered=True)], _draws([35.0, 85.0], [0.5, 0.5], spread=6.0))
    assert len({well.name for well in found}) == 2 and all(" to " in well.name for well in found)


def test_torsions_of_alanine_dipeptide_that_are_reported() -> None:
    assert [turn.name for turn in _turns("alanine_dipeptide")] == ["phi ALA2", "psi ALA2"]
    assert not any(turn.mirror for turn in _turns("alanine_dipeptide"))
    assert {turn.mirror for turn in _turns("glycine_dipeptide")} == {("phi GLY2", 0.0), ("psi GLY2", 0.0)}


def test_torsions_of_a_peptide_with_proline_and_side_chains() -> None:
    found = {turn.name: turn for turn in _turns("chignolin")}
    assert {"omega PRO4", "chi1 TYR2", "phi GLY7", "chi2 TRP9"} <= set(found)
    assert found["chi2 TYR2"].period == found["N-CA-C-O"].period == found["chi3 GLU5"].period == 180
    assert found["chi1 TYR2"].period == 360 and found["chi1 TYR2"].staggered and not found["chi2 TRP9"].staggered
    assert sum("chi" in name and "PRO4" in name for name in found) >= 2  # puckers
    assert not any(name.startswith("omega") and "PRO" not in name for name in found)


def test_twins_are_recorded_behind_the_torsions() -> None:
    file = app.PDBFile(str(MOLECULES / "chignolin.pdb"))
    quads = rotatable_torsions(*topology_arrays(file.topology))
    np.testing.assert_array_equal(recorded_torsions(file.topology, quads)[: len(quads)], quads)
    assert can_turn(file.topology)


def _draws_density(centres: list[float], spread: float, count: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.choice(centres, count) + spread * rng.standard_normal(count))


def test_smoothing_keeps_the_count_and_is_a_gaussian() -> None:
    under = smoothed(np.full(50, 90.5), 360.0)
    assert under.argmax() == 90 and under.max() == pytest.approx(50 * np.sqrt(2), rel=1e-3)
    assert under[98] / under.max() == pytest.approx(np.exp(-0.5), rel=1e-2) and under.min() > 0
    np.testing.assert_allclose(smoothed(np.full(50, 0.25), 180.0), smoothed(np.full(50, 180.25), 180.0))


def test_cuts_lie_at_the_minima() -> None:
    """Two wells of equal width: minima half way between, on both sides of the circle."""
    found = intervals(_draws_density([60.0, 180.0], 15.0, 20000), 360.0)
    assert [round(centre / 10) for _, _, centre in found] == [6, 18]
    (low, high, _), (after, end, _) = found
    assert high == pytest.approx(120.0, abs=6) and low == pytest.approx(-60.0, abs=15)
    assert after % 360 == pytest.approx(high) and end - after < 360


def test_cuts_do_not_depend_on_where_the_circle_begins() -> None:
    draws = _draws_density([0.0, 120.0, 220.0], 12.0, 5000)
    whole, turned = intervals(draws, 360.0), intervals(draws + 37.0, 360.0)
    widths = sorted(high - low for low, high, _ in whole)
    assert len(whole) == 3 and sum(widths) == pytest.approx(360.0)
    np.testing.assert_allclose(sorted(high - low for low, high, _ in turned), widths, atol=1e-9)


@pytest.mark.parametrize("apart", [16.0, 24.0, 80.0])
def test_a_barrier_of_less_than_kt_is_none(apart: float) -> None:
    """Two Gaussians of width s at distance d: the middle has 2 exp(-d² / 8 s²) of either, s with the kernel."""
    found = intervals(_draws_density([100.0, 100.0 + apart], 12.0, 40000), 360.0)
    middle = 2 * np.exp(-(apart**2) / 8 / (12.0**2 + 8.0**2))
    assert len(found) == (2 if middle < np.exp(-1) else 1)


def test_noise_makes_no_wells() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        few = np.concatenate([_draws_density([90.0], 20.0, 150, seed), rng.uniform(0, 360, 4)])
        assert len(intervals(few, 360.0)) == 1
        assert len(intervals(rng.uniform(0, 360, 400), 360.0)) == 1


def test_a_small_well_behind_a_high_barrier_counts() -> None:
    found = intervals(np.concatenate([_draws_density([200.0], 12.0, 5000), _draws_density([60.0], 10.0, 40)]), 360.0)
    assert [round(centre / 10) for _, _, centre in found] == [6, 20]


def test_the_only_well_is_the_circle() -> None:
    ((low, high, centre),) = intervals(np.full(100, -90.0), 360.0)
    assert high - low == 360 and centre == pytest.approx(270.5)
    ((low, high, centre),) = intervals(_draws_density([10.0, 190.0], 10.0, 1000), 180.0)
    assert high - low == 180 and centre == pytest.approx(10.0, abs=4)
