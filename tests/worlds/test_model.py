"""A world's model as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.model.file import BundleError
from latentmd.worlds.model import load_world


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file; `latentmd train world` writes one"):
        load_world(tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes(b"nothing")
    with pytest.raises(BundleError):
        load_world(tmp_path / "model.pt")
