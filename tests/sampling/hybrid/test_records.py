"""Records of a review: JSON values only, and weights of every frame."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from latentmd.sampling.hybrid.convergence import Criteria, review
from latentmd.sampling.hybrid.estimates import Bursts
from latentmd.sampling.hybrid.records import summary, weight_arrays


def test_a_summary_is_json_and_unknown_numbers_are_none(chain: Callable[..., Bursts]) -> None:
    bursts = chain(60, 20, 0)
    found = review(bursts, 1, 1, criteria=Criteria(), fresh=5, rng=np.random.default_rng(0), draws=20)
    record = summary(found)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert np.isclose(sum(p["value"] for p in record["populations"].values()), 1.0)
    assert set(record["first_passage_ps"]) == {"first -> rest", "rest -> first"}


def test_weights_sum_to_one_outside_the_relaxation_time(chain: Callable[..., Bursts]) -> None:
    bursts = chain(5, 8, 1)
    keys = [(0, i) for i in range(5)]
    arrays = weight_arrays(bursts, keys, ["given"] * 5, np.array([0.2, 0.3, 0.5]), 2)
    assert np.isclose(arrays["weight"].sum(), 1.0) and not arrays["weight"][arrays["frame"] < 2].any()
    assert {len(arrays[name]) for name in ("round", "task", "frame", "cell", "weight", "state", "origin")} == {40}
    np.testing.assert_array_equal(arrays["state"], np.where(arrays["cell"] == 0, 0, 1))
