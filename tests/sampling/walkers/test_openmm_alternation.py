"""Latent steps and MD by turns where OpenMM moves one walker after another: kinds of frames, and going on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.replicas import choice
from latentmd.replicas.settle import EnergyRange
from latentmd.sampling.walkers.folder import trajectory_path
from latentmd.sampling.walkers.moved import AlternateJob

ENERGIES = EnergyRange(-115.0, -73.0, -20.0)  # of alanine dipeptide at 350 K, roughly


@pytest.fixture(autouse=True)
def _without_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "library", lambda: None)


def _job(prepared: Any, s: Any, folder: Path, bundle: Path, **more: Any) -> AlternateJob:
    folder.mkdir(exist_ok=True)
    return AlternateJob(prepared, s, folder, [0], model=str(bundle), cycle=100.0, energies=ENERGIES, **more)


def test_a_cycle_ends_with_md(prepared: Any, settings: Any, run_job: Any, ou_bundle: Path, tmp_path: Path) -> None:
    s = settings("model", 400.0, 50.0, burst=0.4)
    messages = run_job(_job(prepared, s, tmp_path / "a", ou_bundle))
    rows = [row for message in messages["frames"] for row in message["rows"]]
    np.testing.assert_allclose([row[0] for row in rows], 50.0 * np.arange(1, 9))
    kinds = [row[1] for row in rows]
    assert kinds[::2] == 4 * ["settled"] and set(kinds[1::2]) <= {"md", "relaxed"}
    assert {row[3] for row in rows} == {""} and not ENERGIES.far(np.array([row[2] for row in rows])).any()
    state = messages["state"][-1]["state"]
    assert state.frames == 8 and set(state.counts) == {"minimised", "replaced_by_md"}
    assert {"start", "MD", "latent steps", "settling", "output"} <= set(messages["phases"][0]["seconds"])


def test_a_stopped_walker_goes_on(prepared: Any, settings: Any, run_job: Any, ou_bundle: Path, tmp_path: Path) -> None:
    s = settings("model", 600.0, 50.0, burst=0.4)
    run_job(_job(prepared, s, tmp_path / "a", ou_bundle))
    halves = run_job(_job(prepared, s, tmp_path / "b", ou_bundle), stop_after=3)
    state = halves["state"][-1]["state"]
    assert 0 < state.frames < 12
    run_job(_job(prepared, s, tmp_path / "b", ou_bundle, states={0: state}))
    whole, parts = (trajectory_path(tmp_path / name, 0).read_bytes() for name in "ab")
    assert whole == parts
