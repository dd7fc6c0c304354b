"""How a molecule is simulated, and how its file is read: settings only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from latentmd.systems.errors import MoleculeError

Solvent = Literal["implicit", "vacuum", "explicit"]
Missing = Literal["refuse", "add", "split"]
Ends = Literal["charged", "capped"]

SYSTEM_FILE = "system.xml"  # beside topology.pdb, in the folder of a run of a molecule with its own force field

#: Force-field files per kind of solvent, used where the user names none.
DEFAULT_FORCE_FIELDS: dict[Solvent, tuple[str, ...]] = {
    "implicit": ("amber14/protein.ff14SB.xml", "implicit/obc2.xml"),
    "vacuum": ("amber14/protein.ff14SB.xml",),
    "explicit": ("amber14-all.xml", "amber14/tip3p.xml"),
}


@dataclass(frozen=True)
class InputOptions:
    """Choices where a file of coordinates leaves one.

    Attributes:
        ph: decides the protonation of residues whose name and hydrogens do not.
        model_number: which MODEL of a file with several; the first where None.
        altloc: which alternate location; the one of highest occupancy, residue by residue, where None.
        missing: "refuse" a gap in a chain, "add" the residues that SEQRES names there, or "split" the chain.
        ends: "charged" leaves uncapped chain ends charged, "capped" adds ACE and NME to them.
        positions: file of the coordinates of a prmtop, top or psf file.
        parameters: CHARMM parameter files of a psf file.
        system: XML file of an OpenMM System that describes the molecule in a PDB or mmCIF file.
        smiles: the molecule, or the bonds and charges of the small one in a PDB file.
        strip_salts: of several small molecules keeps the largest.

    Raises:
        MoleculeError: a value that none of these can have.
    """

    ph: float = 7.0
    model_number: int | None = None
    altloc: str | None = None
    missing: Missing = "refuse"
    ends: Ends = "charged"
    positions: str | None = None
    parameters: tuple[str, ...] = ()
    system: str | None = None
    smiles: str | None = None
    strip_salts: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.ph <= 14:
            raise MoleculeError(f"--ph is {self.ph:g}; expected 0 to 14")
        if self.missing not in ("refuse", "add", "split"):
            raise MoleculeError(f"--missing is {self.missing!r}; expected refuse, add or split")
        if self.ends not in ("charged", "capped"):
            raise MoleculeError(f"--ends is {self.ends!r}; expected charged or capped")
        if self.altloc is not None and len(self.altloc) != 1:
            raise MoleculeError(f"--altloc is {self.altloc!r}; expected one character, such as A")


#: What is chosen where nobody says otherwise.
DEFAULT_INPUTS = InputOptions()


@dataclass(frozen=True)
class Protocol:
    """Simulation protocol: what the training data of the bundled models was made with.

    Attributes:
        solvent: "implicit" (OBC2), "vacuum" or "explicit" (water from the file, or added where it has none).
        force_field: OpenMM force-field XML names or paths; empty for the default of the solvent.
        temperature: kelvin.
        friction: 1/ps.
        timestep: ps.
        hydrogen_mass: amu.
        inputs: choices where the file of coordinates leaves one.
    """

    solvent: Solvent = "implicit"
    force_field: tuple[str, ...] = ()
    temperature: float = 350.0
    friction: float = 1.0
    timestep: float = 0.004
    hydrogen_mass: float = 3.0
    inputs: InputOptions = field(default_factory=InputOptions)

    @property
    def force_field_files(self) -> tuple[str, ...]:
        """The force-field files in use."""
        return self.force_field or DEFAULT_FORCE_FIELDS[self.solvent]
