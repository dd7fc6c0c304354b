"""Paths of the PDB files that are installed with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def molecules() -> list[Path]:
    """List the PDB files of all bundled molecules, sorted by name.

    Example:
        >>> "alanine_dipeptide" in [path.stem for path in molecules()]
        True
    """
    return sorted((Path(str(files("latentmd.systems"))) / "molecules").glob("*.pdb"))


def bundled(name: str) -> Path:
    """Path of a bundled molecule's PDB file, such as of "alanine_dipeptide"; ValueError for an unknown name."""
    found = {path.stem: path for path in molecules()}
    if name not in found:
        raise ValueError(f"no bundled molecule is called {name!r}; expected one of {', '.join(found)}")
    return found[name]
