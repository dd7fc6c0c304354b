"""Paths for libraries that open files by ASCII names only, as mdtraj does with XTC, TRR and DCD files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def ascii_path(path: str | Path) -> Iterator[str]:
    """Yield a name in ASCII for a file, which may not exist: its own, or that of a link to it in a temporary folder."""
    if str(path).isascii():
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="latentmd-") as folder:
        link = Path(folder) / f"file{Path(path).suffix}"
        link.symlink_to(Path(path).absolute())
        yield str(link)
