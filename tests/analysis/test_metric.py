"""Results of an evaluation."""

from __future__ import annotations

import math

from latentmd.analysis.metric import Comparison, Metric


def test_a_metric_is_found_by_its_name() -> None:
    found = Comparison([Metric("JS", "distribution", 0.25)])
    assert found.value("JS") == 0.25 and math.isnan(found.value("other"))
