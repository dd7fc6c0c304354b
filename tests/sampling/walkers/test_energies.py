"""Energies that frames are judged by: from the model's training data, or measured once in a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.replicas.settle import EnergyRange
from latentmd.sampling.models import given_model
from latentmd.sampling.walkers import energies as module
from latentmd.sampling.walkers.energies import energy_range, in_words, judged


def test_the_training_data_come_first(prepared: Any, settings: Any, tmp_path: Path) -> None:
    model = given_model("alanine-dipeptide")
    found = energy_range(prepared, settings("latent", 100.0, 50.0), tmp_path, model)
    assert (found.low, found.median, found.high) == model.manifest.reference.energy_quantiles
    assert found.source == "training data" and not list(tmp_path.iterdir())


def test_otherwise_the_range_is_measured_once(
    prepared: Any, settings: Any, tmp_path: Path, ou_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STRUCTURES", 32)
    s = settings("latent", 100.0, 50.0)
    found = energy_range(prepared, s, tmp_path, given_model(str(ou_bundle)))
    known = given_model("alanine-dipeptide").manifest.reference.energy_quantiles
    np.testing.assert_allclose([found.low, found.median, found.high], known, atol=12.0)
    other = replace(s, seed=99)
    assert energy_range(prepared, other, tmp_path, given_model(str(ou_bundle))) == found  # of the first session


def test_frames_are_counted_by_kind() -> None:
    rows = {
        "potential_energy": np.array([-70.0, -80.0, 10.0, -200.0]),
        "kind": np.array(["settled", "settled", "md", "settled"]),
    }
    record = judged(rows, EnergyRange(-110.0, -75.0, -20.0))
    assert (record["frames_above"], record["frames_below"], record["inside"]) == (1, 1, 0.5)
    assert record["frames_by_kind"] == {"md": 1, "settled": 3} and record["median_by_kind"]["settled"] == -80.0
    assert "3 decoded frames settled by 100 steps of MD; energies of 50.0 %" in in_words(record)
    assert "(1 above, 1 below; range from training data)" in in_words(record)
