"""Latent steps and MD by turns of several walkers at once: kinds of frames, counts, and going on from a state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.replicas.library import library
from latentmd.replicas.settle import EnergyRange
from latentmd.sampling.walkers.folder import trajectory_path
from latentmd.sampling.walkers.moved import AlternateJob

pytestmark = pytest.mark.skipif(library() is None, reason="the kernel is not installed: there was no C++ compiler")


ENERGIES = EnergyRange(-115.0, -73.0, -20.0)  # of alanine dipeptide at 350 K, roughly


def _job(prepared: Any, s: Any, folder: Path, bundle: Path, *batches: tuple[int, ...], **more: Any) -> Any:
    folder.mkdir(exist_ok=True)
    walkers = [walker for batch in batches for walker in batch]
    return AlternateJob(
        prepared, s, folder, walkers, model=str(bundle), cycle=100.0, energies=ENERGIES, batches=batches, **more
    )


def test_a_cycle_ends_with_md(prepared: Any, settings: Any, run_job: Any, ou_bundle: Path, tmp_path: Path) -> None:
    s = settings("model", 400.0, 50.0, burst=0.4)
    messages = run_job(_job(prepared, s, tmp_path / "a", ou_bundle, (0, 1)))
    for walker in (0, 1):
        rows = [row for message in messages["frames"] if message["walker"] == walker for row in message["rows"]]
        np.testing.assert_allclose([row[0] for row in rows], 50.0 * np.arange(1, 9))
        kinds = [row[1] for row in rows]
        assert kinds[::2] == 4 * ["settled"] and set(kinds[1::2]) <= {"md", "relaxed"}
        assert {row[3] for row in rows} == {""} and not ENERGIES.far(np.array([row[2] for row in rows])).any()
    state = messages["state"][-1]["state"]
    assert state.walkers == (0, 1) and state.frames == 8
    assert set(state.counts) == {"minimised", "replaced_by_md"}
    assert {"start", "MD", "latent steps", "settling", "output"} <= set(messages["phases"][0]["seconds"])


def test_a_batch_does_not_depend_on_others_nor_on_where_it_was_stopped(
    prepared: Any, settings: Any, run_job: Any, ou_bundle: Path, tmp_path: Path
) -> None:
    s = settings("model", 300.0, 50.0, burst=0.4, walkers=3)
    folder = tmp_path / "a"
    folder.mkdir()
    batches = ((0, 1), (2,))
    run_job(
        AlternateJob(
            prepared, s, folder, [0, 1, 2], model=str(ou_bundle), cycle=100.0, energies=ENERGIES, batches=batches
        )
    )
    run_job(_job(prepared, s, tmp_path / "b", ou_bundle, (2,)))
    halves = run_job(_job(prepared, s, tmp_path / "b", ou_bundle, (0, 1)), stop_after=3)
    state = halves["state"][-1]["state"]
    assert 0 < state.frames < 6
    run_job(_job(prepared, s, tmp_path / "b", ou_bundle, (0, 1), states={0: state}))
    for walker in range(3):
        whole, parts = (trajectory_path(tmp_path / name, walker).read_bytes() for name in "ab")
        assert whole == parts
