"""Residues of a molecule: one model, one set of alternate locations, standard names; every choice is noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from openmm.app.element import Element

from latentmd.systems import names as known
from latentmd.systems.protocol import InputOptions, MoleculeError
from latentmd.systems.readers.records import AtomRecord, Key, Records

_SHOWN = 6  # names in a message before "and … more"


@dataclass
class Atom:
    """An atom with its standard name, OpenMM Element, position in nm, and serial number in the file."""

    name: str
    element: Element | None
    position: tuple[float, float, float]
    serial: int = -1


@dataclass(eq=False)
class Residue:
    """A residue under its standard name; `found` is its name in the file, `key` its chain, number and insertion code.

    `state` is the protonation state that its name tells, such as HIP; `segment` counts marked chain ends before it.
    """

    found: str
    name: str
    state: str | None
    key: Key
    segment: int
    atoms: list[Atom] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.found} ({self.key[0]}:{self.key[1]}{self.key[2]})"

    def label(self, atom: str) -> str:
        """Such as "A:ALA2:CB"."""
        return f"{self.key[0]}:{self.found}{self.key[1]}{self.key[2]}:{atom}"

    def get(self, name: str) -> Atom | None:
        """Its atom of a name, or None."""
        return next((atom for atom in self.atoms if atom.name == name), None)

    @property
    def hydrogens(self) -> set[str]:
        """Names of its hydrogens."""
        return {atom.name for atom in self.atoms if atom.element is not None and atom.element.atomic_number == 1}

    @property
    def amino_acid(self) -> bool:
        """Whether it has a peptide's backbone, or the name of a standard amino acid."""
        return self.name in known.AMINO_ACIDS or all(self.get(name) for name in ("N", "CA", "C"))


def listed(items: Iterable[object]) -> str:
    """The first six, and how many more."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def choose(records: Records, options: InputOptions) -> tuple[list[Residue], list[str]]:
    """Residues of one model and one set of alternate locations, and notes on what was chosen."""
    notes: list[str] = []
    atoms = _one_location(_one_model(records.atoms, options, notes), options, notes)
    groups: list[list[AtomRecord]] = []
    for atom in atoms:
        last = groups[-1][-1] if groups else None
        same = last is not None and (last.key, last.residue, last.segment) == (atom.key, atom.residue, atom.segment)
        if same and all(atom.name != other.name for other in groups[-1]):
            groups[-1].append(atom)
        elif same and {other.name for other in groups[-1]} >= {"N", "CA"} and atom.name not in ("N", "CH3"):
            raise MoleculeError(f"atom {atom} is there twice; leave one of them in the file")
        else:
            groups.append([atom])
    deuterium = Counter[str]()
    residues = [_residue(group, deuterium) for group in groups]
    if deuterium:
        notes.append(f"{sum(deuterium.values())} deuterium atoms taken as hydrogen")
    for names, what in (
        ({"MSE"}, "selenomethionine taken as methionine"),
        (known.D_AMINO_ACIDS.keys(), "D amino acids, with the force field of the L residues"),
    ):
        if special := [residue for residue in residues if residue.found in names]:
            notes.append(f"{what}: {listed(special)}")
    return residues, notes


def _one_model(atoms: Sequence[AtomRecord], options: InputOptions, notes: list[str]) -> list[AtomRecord]:
    models = list(dict.fromkeys(atom.model for atom in atoms))
    wanted = options.model_number
    if wanted is not None and wanted not in models:
        plural = "s" if len(models) > 1 else ""
        raise MoleculeError(f"--model-number is {wanted}; the file has the model{plural} {listed(models)}")
    chosen = models[0] if wanted is None else wanted
    if len(models) > 1:
        how = "" if wanted is not None else "; --model-number takes another"
        notes.append(f"model {chosen} of {len(models)} taken{how}")
    return [atom for atom in atoms if atom.model == chosen]


def _one_location(atoms: list[AtomRecord], options: InputOptions, notes: list[str]) -> list[AtomRecord]:
    """Atoms of the alternate location asked for, or of highest occupancy in each residue."""
    occupancy: dict[Key, dict[str, list[float]]] = {}
    for atom in atoms:
        if atom.altloc:
            occupancy.setdefault(atom.key, {}).setdefault(atom.altloc, []).append(atom.occupancy)
    if not occupancy:
        if options.altloc is not None:
            raise MoleculeError(f"--altloc is {options.altloc}; the file has no alternate locations, leave it out")
        return atoms
    letters = sorted({letter for found in occupancy.values() for letter in found})
    if options.altloc is not None and options.altloc not in letters:
        raise MoleculeError(f"--altloc is {options.altloc}; the file has the alternate locations {', '.join(letters)}")
    taken: dict[Key, str] = {}
    for key, found in occupancy.items():
        best = max(sorted(found), key=lambda letter: sum(found[letter]) / len(found[letter]))
        taken[key] = options.altloc if options.altloc in found else best
    shown = listed(f"{letter} of {key[0]}:{key[1]}{key[2]}" for key, letter in taken.items())
    how = "" if options.altloc else "; --altloc takes another"
    notes.append(f"alternate locations {', '.join(letters)}: {shown} taken{how}")
    return [atom for atom in atoms if not atom.altloc or atom.altloc == taken[atom.key]]


def _residue(group: list[AtomRecord], deuterium: Counter[str]) -> Residue:
    first = group[0]
    name, state = known.standard_residue(first.residue)
    name = known.other_names(name)
    if first.residue == "MSE" or (first.residue in known.IONS and len(group) == 1):
        name, state = "MET" if first.residue == "MSE" else first.residue, None
    residue = Residue(first.residue, name, state, first.key, first.segment)
    for atom in group:
        unstated = not atom.element and atom.name[:1] == "D" and name in known.AMINO_ACIDS
        if atom.element == "D" or unstated:
            deuterium[first.residue] += 1
            called = "H" + atom.name[1:] if atom.name.startswith("D") else atom.name
            atom = replace(atom, name=called, element="H")
        residue.atoms.append(_atom(residue, atom))
    twice = [called for called, count in Counter(atom.name for atom in residue.atoms).items() if count > 1]
    for called in twice:  # such as H and H1 of one amide: keep the names of the file
        for mine, raw in zip(residue.atoms, group, strict=True):
            if mine.name == called and raw.name != called:
                mine.name = raw.name
    return residue


def _atom(residue: Residue, record: AtomRecord) -> Atom:
    name, stated = record.name, record.element
    if residue.found == "MSE" and name == "SE":
        name, stated = "SD", "S"
    called = known.standard_atom(residue.name, name)
    try:
        element = known.element_of(residue.name, called, stated)
    except ValueError as error:
        raise MoleculeError(f"atom {record}: {error}; correct one of them") from error
    return Atom(called, element, record.position, record.serial)
