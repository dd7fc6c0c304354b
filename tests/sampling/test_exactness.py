"""The exactness ladder."""

from __future__ import annotations

import pytest

from latentmd.sampling.exactness import Exactness


def test_the_ladder_has_five_documented_rungs() -> None:
    assert [level.name.lower() for level in Exactness] == ["raw", "relaxed", "gated", "reweighted", "metropolised"]
    for level in Exactness:
        assert level.value.guarantees and level.value.remains and level.value.costs
    assert "no density in x" in Exactness.METROPOLISED.value.remains


def test_levels_are_found_by_name() -> None:
    assert Exactness.named("gated") is Exactness.GATED
    with pytest.raises(ValueError, match="exactness is 'perfect'; expected one of raw, relaxed, gated"):
        Exactness.named("perfect")
