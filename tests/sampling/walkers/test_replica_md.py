"""Plain MD of all walkers together: the same walker whatever is beside it, and after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.replicas.library import library
from latentmd.sampling.walkers.folder import trajectory_path
from latentmd.sampling.walkers.jobs import ReplicaMDJob

pytestmark = pytest.mark.skipif(library() is None, reason="the kernel is not installed: there was no C++ compiler")


def _bytes(folder: Path, walker: int) -> bytes:
    return trajectory_path(folder, walker).read_bytes()


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    made = [tmp_path / name for name in "ab"]
    for folder in made:
        folder.mkdir()
    return made


def test_a_walker_does_not_depend_on_its_neighbours(
    prepared: Any, settings: Any, run_job: Any, folders: list[Path]
) -> None:
    s = settings("md", 0.8, 0.2, walkers=3, equilibration=0.1)
    messages = run_job(ReplicaMDJob(prepared, s, folders[0], [0, 1, 2], chunk=2))
    run_job(ReplicaMDJob(prepared, s, folders[1], [1], chunk=3))
    assert _bytes(folders[0], 1) == _bytes(folders[1], 1) != _bytes(folders[0], 0)
    times = [row[0] for message in messages["frames"] if message["walker"] == 2 for row in message["rows"]]
    np.testing.assert_allclose(times, [0.2, 0.4, 0.6, 0.8])
    assert "md" in messages["phases"][0]["seconds"]


def test_walkers_that_are_unequally_far_go_on(prepared: Any, settings: Any, run_job: Any, folders: list[Path]) -> None:
    s = settings("md", 0.8, 0.2, equilibration=0.1)
    run_job(ReplicaMDJob(prepared, s, folders[0], [0, 1], chunk=1))
    halves = run_job(ReplicaMDJob(prepared, s, folders[1], [0], chunk=1), stop_after=3)
    states = {0: halves["state"][-1]["state"]}
    assert states[0].frames == 3
    run_job(ReplicaMDJob(prepared, s, folders[1], [0, 1], states=states, chunk=1))
    assert all(_bytes(folders[0], walker) == _bytes(folders[1], walker) for walker in (0, 1))


def test_a_stop_in_the_middle_of_a_frame_keeps_whole_frames_and_loses_nothing_of_the_rest(
    prepared: Any, settings: Any, run_job: Any, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    s, looks = settings("md", 0.8, 0.2, equilibration=0.1), []
    run_job(ReplicaMDJob(prepared, s, folders[0], [0, 1], chunk=2))
    messages: dict[str, list[Any]] = {"frames": [], "state": [], "phases": []}

    def stopped() -> bool:  # once in the third frame, whose slices are of 10 and more steps
        looks.append(len(messages["frames"]))
        return looks.count(2) > 2

    job = ReplicaMDJob(prepared, s, folders[1], [0, 1], chunk=2)
    job.run(lambda kind, **values: messages[kind].append(values), stopped)
    assert [len(message["rows"]) for message in messages["frames"]] == [2, 2] and not messages["phases"]
    states = {message["state"].walkers[0]: message["state"] for message in messages["state"]}
    assert {state.frames for state in states.values()} == {2}
    run_job(ReplicaMDJob(prepared, s, folders[1], [0, 1], states=states, chunk=2))
    assert all(_bytes(folders[0], walker) == _bytes(folders[1], walker) for walker in (0, 1))
