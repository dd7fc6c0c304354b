"""Text about a hybrid run."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.cli.hybrid import round_rows, show_hybrid
from latentmd.sampling.hybrid.rounds import RoundProgress
from latentmd.sampling.request import HybridResult


def test_rows_of_a_round() -> None:
    progress = RoundProgress(
        round=2, bursts=18, simulated=36.0, wall=5.0, decisions={"accepted": 3, "distance": 1},
        discarded={"exploded": 1}, review=None, refined=1,
    )  # fmt: skip
    rows = dict(round_rows(progress, 65.0, 125.0))
    assert rows["round"] == "2, 18 bursts, 36 ps" and rows["time"] == "0:01:05, 0:01:00 left"
    assert rows["surrogate proposals"] == "3 of 4 accepted, trained again 1 times" and rows["discarded bursts"] == "1"
    assert dict(round_rows(progress, 65.0, float("inf")))["time"].endswith("no limit")


def test_chains_and_structures_have_texts_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    shared = {"guarantees": "g", "remains": "r", "frames": 10, "file": "x.xtc"}
    show_hybrid(HybridResult(Path("run"), "complete", {**shared, "exactness": "raw", "proposals": 12}))
    assert "10 of 12 structures kept: g" in capsys.readouterr().out
    chains = {
        "accepted": {"draw": 0.25}, "effective_samples": 7.0, "missing": ["more"],
        "plain_md": {"least_of_chains": {}, "least_at_equal_wall_time": {}},
        "populations": {"set 1": {"value": 0.5, "standard_error": 0.1}},
    }  # fmt: skip
    show_hybrid(HybridResult(Path("run"), "budget", {**shared, **chains, "exactness": "metropolised"}))
    text = capsys.readouterr().out
    assert (
        "25.0% of the drawn torsions" in text
        and "No state could be compared" in text
        and "set 1: population 0.5 ± 0.1" in text
        and "  - more" in text
    )
