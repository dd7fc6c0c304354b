"""Populations of Metropolis chains: closed forms, and chains that do not agree."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.sampling.metropolis.populations import populations, unmet_criteria


def test_populations_and_their_errors_of_known_torsions() -> None:
    """Independent draws of one torsion, a third of them in the second basin; and chains that never mix."""
    rng = np.random.default_rng(0)
    second = rng.random((4, 3000)) < 1 / 3
    angles = np.where(second, 2.0, -1.0)[:, :, None] + 0.1 * rng.standard_normal((4, 3000, 1))
    found = populations(angles, rng)
    assert found.values.sum() == pytest.approx(1.0) and found.mixed < 1.01
    inside = np.array([np.mean(angles[found.sets == i] > 0.5) for i in range(len(found.values))])
    share = found.values[inside > 0.5].sum()
    assert abs(share - 1 / 3) < 4 * np.sqrt(2 / 9 / 12000)
    assert unmet_criteria(found, 1000, 0.25) == []
    apart = populations(np.broadcast_to(np.array([-1.0, -1.0, 2.0, 2.0])[:, None, None], (4, 3000, 1)), rng)
    assert apart.mixed == float("inf")
    assert any("do not agree" in sentence for sentence in unmet_criteria(apart, 1000, 0.25))
