"""Output folders: policy, lock and replacement."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from latentmd.io.atomic import LEFTOVER, OutputError
from latentmd.io.folder import (
    LOCK,
    RECORD,
    FolderLock,
    Policy,
    RunFiles,
    check_folder,
    claim_folder,
    policy_of,
    results_folder,
)

FILES = RunFiles("test", ("frames*.npz", "bursts"))


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


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        claim_folder(tmp_path / "run", "new", FILES, {})


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write there"):
        claim_folder(tmp_path / "file" / "run", "new", FILES, {})


def test_another_kind_of_run_is_left_alone(tmp_path: Path) -> None:
    claim_folder(tmp_path, "new", FILES, {}).release()
    for policy in ("new", "resume", "overwrite"):
        with pytest.raises(OutputError, match="another kind of run"):
            check_folder(tmp_path, policy, RunFiles("other"))  # type: ignore[arg-type]


def test_a_record_that_is_none_is_named(tmp_path: Path) -> None:
    for text, reason in (("[1]", "not the record of a run"), ("{", "cannot be read")):
        (tmp_path / RECORD).write_text(text)
        with pytest.raises(OutputError, match=reason):
            check_folder(tmp_path, "overwrite", FILES)


def test_earlier_results_are_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = results_folder(tmp_path / "a" / "b", False, "evaluation.json")
    assert folder.is_dir()
    (folder / "evaluation.json").touch()
    assert results_folder(folder, False, "latents.json") == folder
    with pytest.raises(OutputError, match=r"holds evaluation\.json already; pass --overwrite or another --out"):
        results_folder(folder, False, "evaluation.json")
    assert results_folder(folder, True, "evaluation.json") == folder
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write there"):
        results_folder(tmp_path / "file" / "out", False, "evaluation.json")


def test_what_a_killed_process_left_is_removed_by_the_one_that_resumes(tmp_path: Path) -> None:
    claim_folder(tmp_path, "new", FILES, {}).release()
    (tmp_path / f".a{LEFTOVER}1.npz").touch()
    (tmp_path / f".explorer{LEFTOVER}1").mkdir()
    claim_folder(tmp_path, "resume", FILES, {}).release()
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]
