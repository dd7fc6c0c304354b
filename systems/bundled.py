"""Paths of the PDB files that are installed with the package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def molecules() -> list[Path]:
    """List the PDB files of all bundled molecules, sorted by name.

    Example:
        >>> "alanine_dipeptide" in [path.stem for path in molecules()]
        True
    """
    spec = find_spec("latentmd.systems")
    assert spec is not None and spec.submodule_search_locations is not None
    return sorted((Path(next(iter(spec.submodule_search_locations))) / "molecules").glob("*.pdb"))


def bundled(name: str) -> Path:
    """Path of a bundled molecule's PDB file, such as of "alanine_dipeptide"; ValueError for an unknown name."""
    found = {path.stem: path for path in molecules()}
    if name not in found:
        raise ValueError(f"no bundled molecule is called {name!r}; expected one of {', '.join(found)}")
    return found[name]
