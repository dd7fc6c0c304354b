"""The comparison of a set with a reference that it is a copy of, and of one that it is not."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.analysis.features import FeatureSpec
from latentmd.analysis.reference import ReferenceModel
from latentmd.analysis.statistics import TORSION_GRID
from latentmd.evaluation.compare import compare, js_metric, point_values

SPEC = FeatureSpec("torsions", ("phi ALA2", "psi ALA2"), np.zeros((2, 4), dtype=np.int64), ((0, 1),))


def _runs(seed: int, centre: float = 1.5) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(3):
        state = np.cumsum(rng.random(1500) < 0.05) % 2
        made.append(
            np.column_stack([np.full(1500, -1.2), np.where(state, centre, -0.5)]) + rng.normal(0, 0.2, (1500, 2))
        )
    return made


@pytest.fixture(scope="module")
def model() -> ReferenceModel:
    return ReferenceModel(SPEC, _runs(0), 1.0, lag=5.0, temperature=300.0, seed=0)


def test_independent_runs_of_one_process_are_at_the_floor(model: ReferenceModel) -> None:
    found = compare(model, _runs(1))
    rows = {m.name: m for m in found.metrics}
    pair = rows["JS distance, (phi, psi)"]
    assert pair.floor is not None and pair.value < 1.3 * pair.floor
    assert set(found.curves) >= {"tica_counts", "correlations", "timescales", "chapman_kolmogorov"}
    same = {m.name: m for m in compare(model, model.runs, brief=True).metrics}
    assert same["JS distance, (phi, psi)"].value == pytest.approx(0, abs=1e-6)


def test_another_process_is_seen(model: ReferenceModel) -> None:
    assert compare(model, _runs(1, centre=3.0), brief=True).value("JS distance, (phi, psi)") > 0.5


def test_point_values_are_those_of_the_comparison(model: ReferenceModel) -> None:
    runs = _runs(2)
    values, rows = point_values(model, runs), {m.name: m.value for m in compare(model, runs, brief=True).metrics}
    assert {name: values[name] for name in rows} == pytest.approx(rows, nan_ok=True)
    assert any(name.startswith("slowest implied timescale") for name in values)


def test_brief_distances_have_no_floor() -> None:
    runs = [np.random.default_rng(0).uniform(-3, 3, 500)]
    options = {"grid": TORSION_GRID, "rng": np.random.default_rng(0), "effective": 1.0}
    assert js_metric("a", runs, runs, brief=True, **options).floor is None
    assert js_metric("a", runs, runs, brief=False, **options).floor > 0
