"""Text about exact chains."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.cli.chains import show_chains
from latentmd.sampling.metropolis.settings import ChainsResult


def test_populations_and_what_is_missing_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    summary = {
        "frames": 10, "file": "x.xtc",
        "accepted": {"draw": 0.25}, "effective_samples": 7.0, "missing": ["more"],
        "notes": ["there was no time for pictures"],
        "plain_md": {"least_of_chains": {}, "least_at_equal_wall_time": {}},
        "populations": {
            "set 1": {"in_words": "0.5 ± 0.1", "degrees": [0.0, 180.0], "period": 360.0},
            "set 2": {"in_words": "> 0.99 (95 %)", "degrees": [0.0, 180.0], "period": 180.0},
        },
        "rings_in_one_shape": [],
        "remarks": ["Torsions with one well: set 2"],
    }  # fmt: skip
    show_chains(ChainsResult(Path("run"), "budget", summary))
    text = capsys.readouterr().out
    assert (
        "25.0% of the drawn torsions" in text
        and "No state to compare" in text
        and "set 1: population 0.5 ± 0.1" in text
        and "set 2: population" not in text
        and "  Torsions with one well: set 2" in text
        and "  - more\nthere was no time for pictures\n" in text
    )
