"""`--model torsions`: the bundled model of torsions draws the first kernels of a run, and the run says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentmd.model.file import BundleError, find
from latentmd.sampling.metropolis import pilot as module
from latentmd.sampling.metropolis.run import chains
from latentmd.sampling.metropolis.settings import ChainsRequest
from latentmd.systems.bundled import bundled


def test_a_run_begins_from_the_model_of_torsions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCATTER", 0.1)
    monkeypatch.setattr(module, "SWEEPS", (2, 3))
    monkeypatch.setattr("latentmd.sampling.metropolis.settings.Schedule.loads_model", lambda _: True)
    request = ChainsRequest(out=tmp_path / "run", model="torsions", wall=20.0, processes=1)
    result = chains(bundled("alanine_dipeptide"), request)
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary["kernels"] == "bundled model of torsions" and summary["model"] == "torsions"
    assert not any("pilot had time" in note for note in summary["notes"])


def test_other_modes_say_what_the_model_is_for() -> None:
    with pytest.raises(BundleError, match="add --mode chains"):
        find("torsions")
