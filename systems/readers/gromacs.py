"""GROMACS topologies by OpenMM's reader, which skips restraints without a word: they are found, and said or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openmm import app

from latentmd.systems.errors import MoleculeError

# Sections that hold energies or particles, of https://manual.gromacs.org/current/reference-manual/topologies, and that
# OpenMM's reader passes over.
_SKIPPED = frozenset(
    "position_restraints distance_restraints dihedral_restraints orientation_restraints angle_restraints "
    "angle_restraints_z polarization water_polarization thole_polarization intermolecular_interactions pairs_nb".split()
)


class GromacsTopology(app.GromacsTopFile):  # type: ignore[misc]
    """A topology that knows what of it OpenMM left out.

    Args:
        path: of the file.
        box: vectors of the periodic box, or None.

    Attributes:
        skipped: sections with entries that OpenMM does not read.
        switches: conditions that do not hold, such as `#ifdef POSRES`, in whose parts restraints are.

    Raises:
        ValueError: as OpenMM's reader.
    """

    def __init__(self, path: Path, box: Any) -> None:
        self.skipped: set[str] = set()
        self.switches: set[str] = set()
        self._open: list[str] = []
        super().__init__(str(path), periodicBoxVectors=box)

    def _processLine(self, line: str, file: str) -> None:  # noqa: N802
        text = line.split(";")[0].strip()
        if text.startswith("#if"):
            self._open.append(text)
        elif text.startswith("#else") and self._open:
            self._open[-1] = f"the #else of {self._open[-1]}"
        elif text.startswith("#endif") and self._open:
            self._open.pop()
        super()._processLine(line, file)
        ignored = not all(self._ifStack)
        restraint = "restraint" in text or "posre" in text.lower()
        if ignored and restraint and self._open:
            self.switches.add(self._open[-1])
        elif text and text[0] not in "[#*" and not ignored and self._currentCategory in _SKIPPED:
            self.skipped.add(self._currentCategory)


def read_gromacs(path: Path, box: Any) -> tuple[GromacsTopology, list[str]]:
    """A topology, and notes on restraints that are switched off in it.

    Args:
        path: of the file.
        box: vectors of the periodic box, or None.

    Raises:
        MoleculeError: it holds restraints or other terms that would be left out.
        ValueError: as OpenMM's reader.
    """
    file = GromacsTopology(path, box)
    if file.skipped:
        names = ", ".join(f"[ {name} ]" for name in sorted(file.skipped))
        raise MoleculeError(
            f"{path}: holds {names}, which OpenMM does not read, so that these energies would be missing; remove them, "
            "or put restraints under #ifdef POSRES"
        )
    switches = " and ".join(sorted(file.switches))
    return file, [f"restraints under {switches} are off"] if switches else []
