"""Names of `latentmd.io` for callers that have not moved to its modules yet; nothing is defined here."""

from __future__ import annotations

from latentmd.io.atomic import OutputError, write_text
from latentmd.io.folder import OutputFolder, check_folder
from latentmd.io.provenance import COLUMNS, KINDS, Provenance, read_provenance
from latentmd.io.writer import FrameWriter

write_atomically = write_text

__all__ = [
    "COLUMNS",
    "KINDS",
    "FrameWriter",
    "OutputError",
    "OutputFolder",
    "Provenance",
    "check_folder",
    "read_provenance",
    "write_atomically",
]
