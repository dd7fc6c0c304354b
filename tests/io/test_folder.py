"""Output folders: policy, lock and replacement."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from latentmd.io.atomic import OutputError
from latentmd.io.folder import LOCK, FolderLock, OutputFolder, Policy, RunFiles, claim_folder, policy_of

FILES = RunFiles("request.json", ("frames*.npz", "bursts"))


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        with pytest.raises(OutputError, match=r"another run writes to .*process \d+ on"):
            FolderLock(tmp_path)
    assert not (tmp_path / LOCK).exists()
    FolderLock(tmp_path).release()


def test_the_lock_of_another_process_ends_with_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from latentmd.io.folder import FolderLock\n"
        "lock = FolderLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=f"process {other.pid} on"):
            claim_folder(tmp_path, "new", FILES, {})
        other.kill()
    assert (tmp_path / LOCK).exists()  # what the dead process left
    claim_folder(tmp_path, "new", FILES, {}).release()


def test_policies(tmp_path: Path) -> None:
    def claim(policy: Policy, seed: int) -> None:
        claim_folder(tmp_path / "run", policy, FILES, {"seed": seed, "times": (1, 2)}).release()

    claim("resume", 1)  # nothing there: begins
    for name in ("frames0.npz", "notes.txt"):
        (tmp_path / "run" / name).write_text("x")
    (tmp_path / "run" / "bursts").mkdir()
    claim("resume", 1)
    with pytest.raises(OutputError, match="another seed; resume with"):
        claim("resume", 2)
    with pytest.raises(OutputError, match="pass --resume to go on"):
        claim("new", 1)
    claim("overwrite", 2)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["notes.txt", "request.json"]
    assert json.loads((tmp_path / "run" / "request.json").read_text())["seed"] == 2


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "frames0.npz").write_text("mine")
    for policy in ("new", "resume", "overwrite"):
        with pytest.raises(OutputError, match="not empty; give another --out"):
            claim_folder(tmp_path, policy, FILES, {})  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["frames0.npz"]


def test_options_to_policy() -> None:
    assert [policy_of(False, False), policy_of(True, False), policy_of(False, True)] == ["new", "resume", "overwrite"]
    with pytest.raises(OutputError, match="exclude each other"):
        policy_of(True, True)


def test_a_filled_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"not empty; pass --overwrite"):
        OutputFolder(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        OutputFolder(tmp_path / "run")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write there"):
        OutputFolder(tmp_path / "file" / "run")


def test_overwriting_replaces_a_run_only_when_finished(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = OutputFolder(out)
    for name in ("topology.pdb", "summary.json", "walker-0000.xtc", "walker-0001.xtc"):
        (first.work / name).write_text("old")
    (out / "notes.txt").write_text("mine")

    second = OutputFolder(out, overwrite=True)
    second.write_summary({"new": True})
    second.trajectory(0).write_text("new")
    assert (out / "walker-0000.xtc").read_text() == "old"
    second.finish()
    assert sorted(p.name for p in out.iterdir()) == ["notes.txt", "summary.json", "walker-0000.xtc"]
    assert json.loads((out / "summary.json").read_text()) == {"new": True}
    assert (out / "notes.txt").read_text() == "mine"
    assert not out.with_name("run.partial").exists()
