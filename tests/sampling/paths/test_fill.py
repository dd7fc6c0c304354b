"""What upsample and inpaint share: parts in order, one set of files a command, errors that reach the caller."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from latentmd.io.progress import quiet
from latentmd.sampling.paths.fill import FillPlan, FillRequest, files_of, read_parts, run_fill
from latentmd.sampling.run.stopping import RunError


def _leave(folder: Path, number: int) -> SimpleNamespace:
    """A finished part of two frames whose coordinates are its number."""
    part = SimpleNamespace(file=folder / f"part-{number}.npz")
    x = np.full((2, 22, 3), number, dtype=np.float32)
    np.savez(
        part.file, positions=x, kinds=np.array([2, 0]), energies=np.zeros(2),
        failed=np.array(["", "clash"]), sound=np.array([True, False]), torsions=np.zeros((2, 1)),
    )  # fmt: skip
    return part


def _plan(path_plan: Any, out: Path, parts: list[SimpleNamespace]) -> FillPlan:
    def fill(part: Any) -> int:
        raise OSError("disk full")

    request = FillRequest(trajectory=Path("a.xtc"), top=Path("a.pdb"), interval=None, processes=1, out=out)
    return FillPlan(
        "upsample", request, path_plan.subject, parts, fill, times=np.arange(2.0 * len(parts)),
        record={"command": "upsample"}, describe=lambda filled: ({"seen": len(filled.kinds)}, [], b"png"),
    )  # fmt: skip


def test_parts_come_together_in_order_and_are_counted(path_plan: Any, tmp_path: Path) -> None:
    plan = _plan(path_plan, tmp_path / "run", [_leave(tmp_path, 3), _leave(tmp_path, 1)])
    result = run_fill(plan, quiet, time.perf_counter())
    assert read_parts(plan.parts).positions[:, 0, 0].tolist() == [3.0, 3.0, 1.0, 1.0]
    assert result.summary["seen"] == 4 and result.summary["frames_made"] == 2
    assert result.summary["frames_failing_checks"] == 2 and result.summary["frames_sound_before_relaxation"] == 0.0
    assert result.provenance()["kind"].tolist() == ["given", "latent"] * 2
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"upsample.xtc", "topology.pdb", "upsample.html", "upsample.png", "summary.json"} <= names


def test_a_part_that_fails_is_an_error_of_the_run(path_plan: Any, tmp_path: Path) -> None:
    part = SimpleNamespace(file=tmp_path / "never.npz")
    with pytest.raises(RunError, match="disk full"):
        run_fill(_plan(path_plan, tmp_path / "run", [part]), quiet, time.perf_counter())


@pytest.mark.parametrize(
    ("choice", "policy"), [({}, "new"), ({"resume": True}, "resume"), ({"overwrite": True}, "overwrite")]
)
def test_a_command_knows_its_files_and_what_to_do_with_them(choice: dict[str, bool], policy: str) -> None:
    request = FillRequest(
        trajectory=Path("a.xtc"), top=Path("a.pdb"), interval=None, processes=1, out=Path("out"), **choice
    )
    assert request.policy == policy
    assert "inpaint.xtc" in files_of("inpaint").patterns and "upsample.xtc" not in files_of("inpaint").patterns
