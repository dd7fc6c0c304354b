"""What jobs of walkers share, and plain MD with OpenMM: frames, checks, and going on from a state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.replicas.library import library
from latentmd.replicas.settle import EnergyRange
from latentmd.sampling.walkers import jobs
from latentmd.sampling.walkers.folder import trajectory_path
from latentmd.sampling.walkers.jobs import MDJob, replica_rate

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly any equilibration, and a state that can be kept after every second frame."""
    monkeypatch.setattr("latentmd.systems.dynamics.EQUILIBRATION", 0.1)
    monkeypatch.setattr("latentmd.systems.dynamics.frames_between_seeds", lambda *_: 2)


def _load(folder: Path, walker: int) -> Any:
    return mdtraj.load(str(trajectory_path(folder, walker)), top=str(ALANINE))


def test_frames_times_and_energies(prepared: Any, settings: Any, run_job: Any, tmp_path: Path) -> None:
    messages = run_job(MDJob(prepared, settings("md", 0.8, 0.2), tmp_path, [0, 1], chunk=2))
    rows = [row for message in messages["frames"] for row in message["rows"]]
    assert [message["walker"] for message in messages["frames"]] == [0, 0, 1, 1]
    np.testing.assert_allclose([row[0] for row in rows], 2 * [0.2, 0.4, 0.6, 0.8])
    assert {row[1] for row in rows} == {"md"} and {row[3] for row in rows} == {""}
    assert all(-1000 < row[2] < 1000 for row in rows)
    one, other = (_load(tmp_path, walker).xyz for walker in (0, 1))
    assert one.shape == (4, 22, 3) and np.abs(one - other).max() > 0.01


def test_a_stopped_walker_goes_on_as_if_it_had_not_been(
    prepared: Any, settings: Any, run_job: Any, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("whole", "halves")]
    for folder in folders:
        folder.mkdir()
    run_job(MDJob(prepared, settings("md", 0.8, 0.2), folders[0], [0], chunk=2))
    messages = run_job(MDJob(prepared, settings("md", 0.8, 0.2), folders[1], [0], chunk=2), stop_after=1)
    state = messages["state"][-1]["state"]
    assert state.frames == 2
    run_job(MDJob(prepared, settings("md", 0.8, 0.2), folders[1], [0], states={0: state}, chunk=2))
    np.testing.assert_array_equal(_load(folders[0], 0).xyz, _load(folders[1], 0).xyz)


def test_the_checker_names_what_a_frame_fails(prepared: Any, settings: Any, tmp_path: Path) -> None:
    energies = EnergyRange(-115.0, -73.0, -20.0)
    failed = MDJob(prepared, settings("md", 0.8, 0.2), tmp_path, [0], energies=energies).checker()
    broken = prepared.reference.copy()
    broken[4] += 0.3
    good, bad, hot = failed(np.stack([prepared.reference, broken, prepared.reference]), np.array([-90.0, -90.0, 40.0]))
    assert hot == "energy"
    assert good == "" and "bonds" in bad.split()


def test_the_replica_kernel_is_timed(prepared: Any) -> None:
    if library() is None:
        pytest.skip("the kernel is not installed: there was no C++ compiler")
    assert replica_rate(prepared.molecule, prepared.reference, 0.01, replicas=2) > 0
    assert jobs.unsupported(prepared.molecule.system) == ""
