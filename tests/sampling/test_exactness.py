"""Levels of exactness."""

from __future__ import annotations

import pytest

from latentmd.sampling.exactness import LEVELS, promise


def test_every_level_says_what_it_promises() -> None:
    assert list(LEVELS) == ["raw", "relaxed", "gated", "reweighted", "metropolised"]
    for level in LEVELS.values():
        assert level.guarantees and level.remains and level.costs
    assert "no density in x" in LEVELS["metropolised"].remains


def test_levels_are_found_by_name() -> None:
    assert promise("gated") is LEVELS["gated"]
    with pytest.raises(ValueError, match="--exactness is 'perfect'; expected one of raw, relaxed, gated"):
        promise("perfect")
