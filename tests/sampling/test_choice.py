"""The rule that chooses how to simulate."""

from __future__ import annotations

import pytest

from latentmd.sampling.choice import Facts, Way, choose

NONE = "no bundled model covers it"


@pytest.mark.parametrize(
    ("facts", "way", "words"),
    [
        (Facts("", ""), "model", "a bundled model"),
        (Facts("", "has virtual sites", trajectories=True), "model", "a bundled model"),
        (Facts(NONE, ""), "chains", "exact chains, beside plain MD"),
        (Facts(NONE, "", trajectories=True), "md", "trajectories were asked for"),
        (Facts(NONE, "turns bonds"), "md", "exact chains do not suit: the method turns bonds; plain MD"),
    ],
)
def test_the_rule(facts: Facts, way: Way, words: str) -> None:
    found, reason = choose(facts)
    assert found == way and words in reason
    assert not facts.uncovered or reason.startswith(NONE)
