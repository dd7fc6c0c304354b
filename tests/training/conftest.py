"""A training that takes seconds: three short MD runs and a configuration of a few steps per stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TINY: dict[str, Any] = {
    "seed": 3,
    "stride": 0.2,
    "solvent": "vacuum",
    "encoder": {"token_dim": 4, "width": 12, "depth": 1, "vectors": 3},
    "jepa": {"steps": 24, "batch": 16, "lag": [0.2, 2.0], "predictor_width": 16},
    "latent": {"lag": 0.4, "slow_axes": [3, 5]},
    "decoder": {"steps": 12, "batch": 32, "width": 16},
    "fast": {"steps": 12, "batch": 32, "width": 16, "depth": 1, "solver_steps": 2},
    "predictor": {
        "steps": 12, "batch": 32, "width": 16, "depth": 1, "solver_steps": 2, "cells": 3, "lag": [1.0, 10.0],
    },
    "energy": {"frames": 100, "tolerance": 0.0, "steps": 8, "batch": 8, "latent_steps": 10},
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """Settings of a training of a few steps, as a dictionary in the shape of the TOML file."""
    return TINY


@pytest.fixture(scope="session")
def pdb() -> Path:
    """The bundled alanine dipeptide."""
    return Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.fixture(scope="session")
def files(alanine_runs: list[Any], alanine_topology: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The runs as xtc files, 0.2 ps apart."""
    import mdtraj
    import numpy as np

    folder = tmp_path_factory.mktemp("runs")
    paths = [folder / f"walker-{i:04d}.xtc" for i in range(len(alanine_runs))]
    for path, positions in zip(paths, alanine_runs, strict=True):
        times = 0.2 * np.arange(1, len(positions) + 1)
        mdtraj.Trajectory(positions, alanine_topology, time=times).save_xtc(str(path))
    return paths
