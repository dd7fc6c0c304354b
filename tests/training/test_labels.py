"""Engine energies and forces of frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.training.config import parse_config
from latentmd.training.labels import engine_labels


def test_forces_are_minus_the_gradient_of_the_energies(
    pdb: Path, alanine_runs: list[Any], tiny: dict[str, Any]
) -> None:
    frame = alanine_runs[0][100].astype(np.float64)
    step = 1e-4
    moved = np.stack([frame, frame, frame])
    moved[1, 8, 0] += step
    moved[2, 8, 0] -= step
    energies, forces = engine_labels(pdb, moved, parse_config(tiny))
    assert -(energies[1] - energies[2]) / (2 * step) == pytest.approx(forces[0, 8, 0], rel=2e-3, abs=1.0)
    np.testing.assert_allclose(forces.sum(axis=1), 0, atol=0.1)
