"""Output folders: one policy (new, resume, overwrite) for every command, and one run at a time in a folder."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from latentmd.io.atomic import LEFTOVER, OutputError, write_json

Policy = Literal["new", "resume", "overwrite"]

LOCK = ".lock"
RECORD = "request.json"  # what a run was asked for; a folder that has it holds a run


class FolderLock(AbstractContextManager["FolderLock"]):
    """The right to write into a folder, for one process at a time; OutputError where another run has it.

    An advisory lock on the file `.lock`, which names its holder; the system drops it however the process ends.
    """

    _handle: int | None = None

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        while True:
            try:
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise OutputError(f"{folder}: cannot write there ({error.strerror}); choose another folder") from error
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.pread(handle, 1000, 0).decode(errors="replace").strip()
                os.close(handle)
                raise OutputError(
                    f"another run writes to {folder} ({holder or 'holder not known yet'}); wait for it or stop it, or "
                    "choose another folder"
                ) from None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(self.path)):
                    break
            os.close(handle)  # its holder removed the file between our opening and locking it
        self._handle = handle
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        """Release the lock and remove its file; a second call does nothing."""
        if self._handle is None:
            return
        self.path.unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = None

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


@dataclass(frozen=True)
class RunFiles:
    """A kind of run, as its record names it, and glob patterns of its files and folders, its record left out."""

    kind: str
    patterns: tuple[str, ...] = ()

    def remove(self, folder: Path) -> None:
        """Remove the run from a folder, its record last; files that match no pattern are left alone."""
        for pattern in self.patterns:
            for path in sorted(folder.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        (folder / RECORD).unlink(missing_ok=True)


def policy_of(resume: bool, overwrite: bool) -> Policy:
    """Turn the two options of a command into a policy."""
    if resume and overwrite:
        raise OutputError("resume and overwrite exclude each other; give one of them")
    return "resume" if resume else "overwrite" if overwrite else "new"


def check_folder(path: Path, policy: Policy, files: RunFiles) -> None:
    """Refuse a folder that a run may not use, before anything is computed or written."""
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file; expected a folder: choose another with --out")
    if not path.is_dir() or all(file.name.startswith(".") for file in path.iterdir()):
        return
    if not (path / RECORD).exists():
        raise OutputError(f"{path} is not empty; give another --out")
    found = _read_record(path / RECORD).get("run")
    if found != files.kind:
        raise OutputError(f"{path} holds another kind of run ({found}, not {files.kind}); give another --out")
    if policy == "new":
        raise OutputError(f"{path} is not empty; pass --resume to go on with its run, --overwrite, or another --out")


def results_folder(path: Path, overwrite: bool, record: str) -> Path:
    """Make a folder for results that a command writes at its end, or accept one without the file `record`."""
    _writable(path)
    if (path / record).exists() and not overwrite:
        raise OutputError(f"{path} holds {record} already; pass --overwrite or another --out")
    return path


def claim_folder(path: Path, policy: Policy, files: RunFiles, request: Mapping[str, object]) -> FolderLock:
    """Make a folder for a run (`new`: missing or empty, hidden files aside), or find the run in it; returns its lock.

    `resume` asks for the same request, or begins one in an empty folder; `overwrite` removes a run of this kind.
    """
    check_folder(path, policy, files)
    _writable(path)
    lock = FolderLock(path)
    try:
        check_folder(path, policy, files)  # again, now that no other run can change it
        _prepare(path, policy, files, json.loads(json.dumps({"run": files.kind, **request})))
    except BaseException:
        lock.release()
        raise
    return lock


def record_of(path: Path) -> dict[str, Any] | None:
    """What the run in a folder was asked for; None where there is none."""
    return _read_record(path / RECORD) if (path / RECORD).exists() else None


def _prepare(path: Path, policy: Policy, files: RunFiles, wanted: dict[str, object]) -> None:
    record = path / RECORD
    if policy == "resume" and record.exists():
        stored = _read_record(record)
        different = sorted(key for key in {*stored, *wanted} if stored.get(key) != wanted.get(key))
        if different:
            raise OutputError(
                f"{path} holds a run with another {' and '.join(different)}; resume with the options it began with, "
                "or choose another folder with --out"
            )
        for leftover in path.rglob(f".*{LEFTOVER}*"):  # of a process that was killed
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        return
    if record.exists():
        files.remove(path)
    write_json(record, wanted, indent=1)


def _read_record(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be read ({error}); choose another folder with --out") from error
    if not isinstance(content, dict):
        raise OutputError(f"{path} is not the record of a run; choose another folder with --out")
    return content


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: cannot write there ({error.strerror}); choose another with --out") from error
