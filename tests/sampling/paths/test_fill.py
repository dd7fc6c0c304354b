"""What upsample and inpaint share: parts in order, one set of files a command, errors that reach the caller."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.io.progress import quiet
from latentmd.sampling.paths.fill import (
    FillPlan,
    FillRequest,
    FillResult,
    Given,
    Task,
    carry_out,
    files_of,
    read_given,
    read_parts,
    work_of,
)
from latentmd.sampling.run.stopping import RunError


def _request(out: Path, **choice: bool) -> FillRequest:
    return FillRequest(trajectory=Path("a.xtc"), top=Path("a.pdb"), interval=None, processes=1, out=out, **choice)


def _leave(folder: Path, number: int) -> Task:
    """A finished part of two frames whose coordinates are its number."""
    (folder / "state").mkdir(exist_ok=True)
    part = Task(options=_request(folder), number=number)
    x = np.full((2, 22, 3), number, dtype=np.float32)
    np.savez(
        part.file, positions=x, kinds=np.array([2, 0]), energies=np.zeros(2),
        failed=np.array(["", "clash"]), sound=np.array([True, False]), torsions=np.zeros((2, 1)),
    )  # fmt: skip
    return part


def _run(path_plan: Any, out: Path, parts: list[Any]) -> FillResult:
    request, times = _request(out), np.arange(2.0 * len(parts))
    plan = FillPlan(
        path_plan.subject, Given(Path("a.xtc"), np.zeros((2, 22, 3)), np.arange(2.0)), parts, times, {},
        describe=lambda filled: ({"seen": len(filled.kinds)}, [], b"png"), title="",
    )  # fmt: skip
    files = files_of("upsample", "upsample.xtc")
    return FillResult(out, carry_out(files, request, lambda: work_of("upsample", request, plan), quiet))


def test_parts_come_together_in_order_and_are_counted(path_plan: Any, tmp_path: Path) -> None:
    parts = [_leave(tmp_path, 3), _leave(tmp_path, 1)]
    result = _run(path_plan, tmp_path / "run", parts)
    assert read_parts(parts).positions[:, 0, 0].tolist() == [3.0, 3.0, 1.0, 1.0]
    assert result.summary["seen"] == 4 and result.summary["frames_made"] == 2
    assert result.summary["frames_failing_checks"] == 2 and result.summary["frames_sound_before_relaxation"] == 0.0
    assert result.provenance()["kind"].tolist() == ["given", "latent"] * 2
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"upsample.xtc", "topology.pdb", "upsample.html", "upsample.png", "summary.json"} <= names


def test_a_part_that_fails_is_an_error_of_the_run(path_plan: Any, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    failing = SimpleNamespace(file=nowhere, number=0, size=1, run=partial(os.rename, nowhere, tmp_path / "part.npz"))
    with pytest.raises(RunError, match="No such file"):
        _run(path_plan, tmp_path / "run", [failing])


@pytest.mark.parametrize(
    ("choice", "policy"), [({}, "new"), ({"resume": True}, "resume"), ({"overwrite": True}, "overwrite")]
)
def test_a_command_knows_its_files_and_what_to_do_with_them(choice: dict[str, bool], policy: str) -> None:
    assert _request(Path("out"), **choice).policy == policy
    assert {"inpaint.html", "own.xtc"} < set(files_of("inpaint", "own.xtc").patterns)


@pytest.fixture
def trajectory(alanine_topology: Any, alanine_runs: list[Any]) -> Any:
    return mdtraj.Trajectory(alanine_runs[0][:20].copy(), alanine_topology, time=10.0 * np.arange(20))


def test_times_and_positions_are_those_of_the_file(trajectory: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.xtc"
    trajectory.save_xtc(str(path))
    given = read_given(path, trajectory.topology, None)
    assert given.interval == pytest.approx(10.0) and given.times[-1] == pytest.approx(190.0)
    assert np.abs(given.positions - trajectory.xyz).max() < 1e-3


def test_jumps_across_a_box_are_refused(trajectory: Any, tmp_path: Path) -> None:
    trajectory.xyz[7, :6] += np.array([2.0, 0, 0], dtype=np.float32)
    path = tmp_path / "jump.xtc"
    trajectory.save_xtc(str(path))
    with pytest.raises(ValueError, match=r"Frame 7 of .*jump\.xtc has a bond of .* jumps across a periodic box"):
        read_given(path, trajectory.topology, None)


def test_one_frame_is_refused(trajectory: Any, tmp_path: Path) -> None:
    path = tmp_path / "one.dcd"
    trajectory[:1].save_dcd(str(path))
    with pytest.raises(ValueError, match=r"has 1 frame; expected two or more"):
        read_given(path, trajectory.topology, 1.0)
