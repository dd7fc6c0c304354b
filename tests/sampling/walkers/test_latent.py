"""Latent rollouts of walkers: the process of the model, batches, and going on from a state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.replicas.settle import EnergyRange
from latentmd.sampling.walkers.folder import trajectory_path
from latentmd.sampling.walkers.moved import LatentJob

ENERGIES = EnergyRange(-115.0, -73.0, -20.0)  # of alanine dipeptide at 350 K, roughly


def _job(prepared: Any, s: Any, folder: Path, bundle: Path, **more: Any) -> LatentJob:
    folder.mkdir(exist_ok=True)
    return LatentJob(prepared, s, folder, [0, 1], model=str(bundle), batches=((0, 1),), energies=ENERGIES, **more)


@pytest.mark.parametrize("settle", [True, False])
def test_every_frame_is_settled_and_sound_or_as_it_was_decoded(
    settle: bool, prepared: Any, settings: Any, run_job: Any, ou_bundle: Path, tmp_path: Path
) -> None:
    messages = run_job(_job(prepared, settings("latent", 200.0, 50.0, settle=settle), tmp_path / "a", ou_bundle))
    rows = [row for message in messages["frames"] for row in message["rows"]]
    assert {row[1] for row in rows} == {"settled" if settle else "latent"} and len(rows) == 8
    np.testing.assert_allclose(sorted({row[0] for row in rows}), [50.0, 100.0, 150.0, 200.0])
    assert np.isfinite([row[2] for row in rows]).all()
    assert {row[3] for row in rows} == {""}
    assert {"start", "latent steps", "settling" if settle else "energies", "output"} <= set(
        messages["phases"][0]["seconds"]
    )


def test_a_stopped_batch_goes_on(
    prepared: Any, settings: Any, run_job: Any, ou_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentmd.sampling.walkers.moved._BLOCK", 2 * 2 * 22)
    s = settings("latent", 200.0, 50.0)
    run_job(_job(prepared, s, tmp_path / "a", ou_bundle))
    halves = run_job(_job(prepared, s, tmp_path / "b", ou_bundle), stop_after=2)
    state = halves["state"][-1]["state"]
    assert state.walkers == (0, 1) and state.frames == 2
    run_job(_job(prepared, s, tmp_path / "b", ou_bundle, states={0: state}))
    for walker in (0, 1):
        whole, parts = (trajectory_path(tmp_path / name, walker).read_bytes() for name in "ab")
        assert whole == parts
