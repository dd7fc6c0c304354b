"""Populations of exact chains: closed forms, and chains that do not agree."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.sampling.metropolis.populations import populations, unmet_criteria
from latentmd.sampling.metropolis.wells import Turn, Well

TURN = Turn("torsion", 0)
WELLS = (Well("low", TURN, -180.0, 0.0), Well("high", TURN, 0.0, 180.0), Well("never", TURN, 170.0, 180.0))


def test_populations_and_their_errors_of_independent_draws() -> None:
    rng = np.random.default_rng(0)
    angles = np.where(rng.random((4, 3000)) < 1 / 3, 2.0, -1.0)[:, :, None]
    found = populations(angles, WELLS)
    exact = np.sqrt(2 / 9 / 12000)
    assert found.errors[1] == pytest.approx(exact, rel=0.1) and abs(found.values[1] - 1 / 3) < 4 * exact
    assert found.values[0] + found.values[1] == pytest.approx(1.0)
    assert found.counted.tolist() == [0, 1] and found.mixed.max() < 1.01
    assert found.logit_errors[1] == pytest.approx(exact / (2 / 9), rel=0.1) and found.logit_errors[2] == np.inf
    assert unmet_criteria(found, 0.25) == []
    assert unmet_criteria(found, 0.001)[0].startswith("low: its free energy has a standard error of 0.0")


def test_errors_count_correlation() -> None:
    """A two-state chain that stays with probability a has (1 + r) / (1 - r) steps per sample, r = 2 a - 1."""
    rng, stay = np.random.default_rng(1), 0.9
    flips = rng.random((8, 20000)) > stay
    angles = np.where(np.cumsum(flips, axis=1) % 2, 1.0, -1.0)[:, :, None]
    found = populations(angles, WELLS[:2])
    assert found.effective[0] == pytest.approx(160000 * (1 - 0.8) / (1 + 0.8), rel=0.15)


def test_chains_that_never_mix_do_not_agree() -> None:
    apart = populations(np.broadcast_to(np.array([-1.0, -1.0, 2.0, 2.0])[:, None, None], (4, 3000, 1)), WELLS)
    assert apart.mixed[0] == np.inf and apart.mixed[2] == 1.0
    assert any("do not agree" in sentence for sentence in unmet_criteria(apart, 0.25))


def test_chains_that_did_not_move_are_not_converged() -> None:
    still = populations(np.full((4, 100, 1), -1.0), WELLS)
    assert still.least == np.inf
    assert unmet_criteria(still, 0.25) == [
        "low: 4 independent samples (300 are wanted, to see other wells down to 1 %)"
    ]


def test_a_torsion_with_one_well_is_known_by_its_independent_samples() -> None:
    """A well that was never seen in n samples has at most 3 / n; samples are those of the torsion within its well."""
    whole = Well("torsion near 60°", TURN, -120.0, 240.0)
    rng = np.random.default_rng(0)
    few, many = (populations(1.0 + 0.2 * rng.standard_normal((4, n, 1)), [whole]) for n in (50, 1000))
    assert many.effective[0] == pytest.approx(4000, rel=0.1) and many.share(0) == "> 99.92 % (95 % sure)"
    assert unmet_criteria(many, 0.25) == [] and len(unmet_criteria(few, 0.25)) == 1
    never = populations(1.0 + 0.2 * rng.standard_normal((4, 1000, 1)), [Well("never", TURN, 170.0, 180.0)])
    assert never.share(0) == "< 75 % (95 % sure)"
    slow = np.repeat(rng.choice([-1.0, 1.0], (4, 20)), 50, axis=1)  # 80 samples of a torsion beside it
    both = np.stack([1.0 + 0.2 * rng.standard_normal((4, 1000)), slow], axis=-1)
    beside = populations(both, [whole, Well("slow", Turn("slow", 1), 0.0, 180.0)])
    assert beside.effective[0] > 1000 and beside.independent(0) == beside.least < 150
    ring = Well("ring g+", Turn("ring", 0, ring=True), -120.0, 240.0)
    assert populations(np.full((4, 9, 1), 1.0), [ring]).share(0) == "all frames"
    apart = 0.3 * np.arange(4)[:, None, None] + 0.1 * rng.standard_normal((4, 1000, 1))
    assert "do not agree" in unmet_criteria(populations(apart, [whole]), 0.25)[0]


@pytest.mark.parametrize(("share", "apart"), [(0.5, False), (0.6, True)])
def test_mirror_images_have_equal_populations(share: float, apart: bool) -> None:
    turn = Turn("torsion", 0, mirror=("torsion", 0.0))
    pair = (Well("near 90°", turn, 0.0, 180.0, 90.0), Well("near -90°", turn, 180.0, 360.0, 270.0))
    rng = np.random.default_rng(0)
    angles = np.where(rng.random((4, 1000, 1)) < share, 1.5, -1.5)
    found = populations(angles, pair)
    assert [row[:2] for row in found.mirrored] == [(0, 1)]
    assert any("are mirror images and should be equal" in sentence for sentence in unmet_criteria(found, 0.25)) == apart
    one_sided = populations(np.full((4, 1000, 1), 1.5) + 0.1 * rng.standard_normal((4, 1000, 1)), pair)
    assert "all frames against none" in unmet_criteria(one_sided, 0.25)[-1]
