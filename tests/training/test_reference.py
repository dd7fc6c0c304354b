"""The summary of training trajectories."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentmd.training.reference import training_reference


def test_every_frame_is_in_the_histogram(alanine_runs: list[Any], alanine_topology: Any) -> None:
    found = training_reference(alanine_runs[:2], alanine_topology, np.arange(1001.0))
    ((table),) = found["ramachandran"]
    assert table["residue"] == "ALA2" and np.sum(table["counts"]) == found["frames"] == 1000
    assert found["energy_quantiles"] == (1.0, 500.0, 999.0)
    assert training_reference(alanine_runs[:1], alanine_topology, None)["energy_quantiles"] is None
