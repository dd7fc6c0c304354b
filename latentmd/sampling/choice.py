"""Whether a molecule needs a model of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentmd.systems.builder import Solvent


def without_model(pdb: str | Path, solvent: Solvent | None, force_field: tuple[str, ...]) -> str | None:
    """Why `simulate` bootstraps: that no bundled model covers the molecule, in words; None where one does.

    Raises:
        ValueError: the molecule is wrong.
    """
    from latentmd.sampling.conditions import matching_model
    from latentmd.systems.builder import Protocol, build

    if solvent == "explicit":
        return None
    molecule = build(pdb, Protocol(solvent or "implicit", force_field))
    try:
        matching_model(molecule, Path(pdb))
    except ValueError as error:
        first = str(error).split(". Train one:")[0]
        return f"{first}: hybrid sampling will train one from a first round of MD, and use it to propose structures"
    return None
