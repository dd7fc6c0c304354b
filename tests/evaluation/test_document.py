"""What evaluation.json holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latentmd.analysis.features import FeatureSet, FeatureSpec, StructureTotals
from latentmd.analysis.metric import Evaluation, Metric
from latentmd.analysis.reference import ReferenceModel
from latentmd.evaluation.document import document
from latentmd.evaluation.settings import EvaluationSettings


def test_the_document_counts_frames_and_time() -> None:
    spec = FeatureSpec("distances", ("a",), np.zeros((1, 2), dtype=np.int64), ())
    runs = [np.cumsum(np.random.default_rng(i).normal(size=(200, 1)), axis=0) for i in range(2)]
    model = ReferenceModel(spec, runs, 2.0, lag=10.0, temperature=310.0, seed=4)
    sets = [
        FeatureSet((Path(n),), r, 2.0, np.zeros((7, 2, 3)), StructureTotals())
        for n, r in (("a", runs[:1]), ("b", runs))
    ]
    result = Evaluation([Metric("JS", "distribution", 0.1)], {}, *sets, notes=["one walker"])
    found = document(result, model, EvaluationSettings(lag=10.0, seed=4), "top.pdb")
    assert (found["topology"], found["notes"], found["metrics"]) == ("top.pdb", ["one walker"], result.metrics)
    assert found["generated"] | {"files": []} == {
        "files": [], "runs": 1, "frames_compared": 200, "frames_checked": 7, "interval_ps": 2.0, "simulated_ps": 400.0,
    }  # fmt: skip
    assert found["reference"]["frames_compared"] == 400
    settings = found["settings"]
    assert (settings["lag_ps"], settings["temperature_K"], settings["seed"]) == (10.0, 310.0, 4)
    assert settings["macrostates"] == model.sets and settings["features"] == ["a"]
