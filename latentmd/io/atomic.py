"""Writing files whole or not at all: under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

LEFTOVER = ".unfinished-"  # in names of temporary files, which a killed process leaves behind


class OutputError(OSError):
    """An output folder or file that cannot be used; the message says what to do."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, else remove it.

    Its hidden name holds the number of this process, so that two writers do not mix; OutputError where writing fails.
    """
    temporary = path.with_name(f".{path.stem}{LEFTOVER}{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: writing failed ({error.strerror or error}); is the disk full?") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Replace a file by text in UTF-8, in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file by bytes in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with names of its columns, whole or not at all."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_text(path, text.getvalue())


def write_json(path: Path, content: Mapping[str, object], indent: int = 2) -> None:
    """Replace a file by indented JSON in one step."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Replace an npz file by named arrays in one step."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
