"""How a molecule is simulated, and how its file is read: settings only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

Solvent = Literal["implicit", "vacuum", "explicit"]
Missing = Literal["refuse", "add", "split"]
Ends = Literal["charged", "capped"]
Water = Literal["tip3p", "opc"]
Box = Literal["dodecahedron", "cube"]

SYSTEM_FILE = "system.xml"  # beside topology.pdb, in the folder of a run of a molecule with its own force field

#: Water models, and OpenMM's box of water with as many sites.
WATER_MODELS: dict[Water, str] = {"tip3p": "tip3p", "opc": "tip4pew"}
#: Force-field files per kind of solvent, used where the user names none.
DEFAULT_FORCE_FIELDS: dict[str, tuple[str, ...]] = {
    "implicit": ("amber14/protein.ff14SB.xml", "implicit/obc2.xml"),
    "vacuum": ("amber14/protein.ff14SB.xml",),
    "explicit": ("amber14-all.xml", "amber14/tip3p.xml"),
}


class MoleculeError(ValueError):
    """A molecule that cannot be turned into an OpenMM System; the message says what to do."""


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
        select: what a model of your own trajectories is of, in the language of mdtraj; all but water and ions where "".
        water: model of explicit water, "tip3p" or "opc".
        box: "dodecahedron" or "cube", of water that is added.
        padding: nm of it on every side of the molecule; 1 nm, or more where the cutoff needs more, where None.
        salt: mol/l of NaCl in it, beside the ions that neutralise.

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
    select: str = ""
    water: Water = "tip3p"
    box: Box = "dodecahedron"
    padding: float | None = None
    salt: float = 0.0

    def __post_init__(self) -> None:
        for name, kind in {"water": Water, "box": Box, "missing": Missing, "ends": Ends}.items():
            *others, last = get_args(kind)
            if (value := getattr(self, name)) not in (*others, last):
                raise MoleculeError(f"--{name} is {value!r}; expected {', '.join(others)} or {last}")
        if not 0 <= self.salt <= 5:
            raise MoleculeError(f"--salt is {self.salt:g} mol/l; expected 0 to 5")
        if self.padding is not None and not 0 < self.padding <= 10:
            raise MoleculeError(f"--padding is {self.padding:g} nm; expected more than 0 and at most 10")
        if not 0 <= self.ph <= 14:
            raise MoleculeError(f"--ph is {self.ph:g}; expected 0 to 14")
        if self.altloc is not None and len(self.altloc) != 1:
            raise MoleculeError(f"--altloc is {self.altloc!r}; expected one character, such as A")


#: What is chosen where nobody says otherwise.
DEFAULT_INPUTS = InputOptions()
_OF_WATER = ("water", "box", "padding", "salt")


def without_water(inputs: InputOptions, *kept: str) -> InputOptions:
    """The same choices, with the usual ones of explicit water but for those `kept`."""
    return replace(inputs, **{name: getattr(DEFAULT_INPUTS, name) for name in _OF_WATER if name not in kept})


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

    def __post_init__(self) -> None:
        if self.solvent != "explicit" and self.inputs != without_water(self.inputs):
            raise MoleculeError("--water, --box, --padding and --salt are for --solvent explicit; add it")

    @classmethod
    def of(cls, stated: Any, inputs: InputOptions | None = None) -> Protocol:
        """The conditions that the manifest of a model, or settings of its training, state; MoleculeError where no force
        field of the solute alone is known.
        """
        if stated.solvent not in ("implicit", "vacuum"):
            raise MoleculeError(
                f"the model {stated.name} is of a solute in {stated.solvent} solvent, and what is asked for needs MD in"
                " a force field of the solute alone, which is not known; `latentmd simulate MODEL.pt`, `paths`"
                " and `evaluate` do without"
            )
        known = ("solvent", "temperature", "friction", "timestep", "hydrogen_mass")
        found = {name: value for name in known if (value := getattr(stated, name)) is not None}
        return cls(force_field=tuple(stated.force_field), inputs=inputs or InputOptions(), **found)

    @property
    def force_field_files(self) -> tuple[str, ...]:
        """The force-field files in use."""
        return self.force_field or tuple(
            name.replace("tip3p", self.inputs.water) for name in DEFAULT_FORCE_FIELDS[self.solvent]
        )
