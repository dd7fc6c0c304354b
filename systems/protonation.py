"""Protonation states: by the residue's name, else by its hydrogens, else by pH."""

from __future__ import annotations

from openmm import app

from latentmd.systems.connections import Connections
from latentmd.systems.residues import Residue, listed

_ACID_OXYGENS = {"ASP": ("OD1", "OD2"), "GLU": ("OE1", "OE2")}
_PROTONATED = {"ASP": "ASH", "GLU": "GLH"}
TITRATABLE = ("ASP", "GLU", "HIS", "LYS", "CYS")


def wanted(residue: Residue, found: Connections) -> str | None:
    """Variant of a residue for `Modeller.addHydrogens`; None leaves it to its hydrogens and the pH.

    A sulfur is deprotonated in a disulfide, or where the residue is named CYM, and never by the pH.
    """
    if residue.name == "CYS":
        return "CYX" if found.disulfide(residue) or residue.state == "CYM" else "CYS"
    return residue.state


def states(topology: app.Topology) -> list[str]:
    """Name of every residue with its protonation state, such as HIP or ASH, by the hydrogens that it has."""
    hydrogens: dict[app.topology.Atom, int] = {}
    linked: set[app.topology.Atom] = set()
    for first, second in topology.bonds():
        for atom, other in ((first, second), (second, first)):
            if other.element is not None and other.element.atomic_number == 1:
                hydrogens[atom] = hydrogens.get(atom, 0) + 1
            elif other.residue is not atom.residue:
                linked.add(atom)
    return [_state(residue, hydrogens, linked) for residue in topology.residues()]


def _state(
    residue: app.topology.Residue, hydrogens: dict[app.topology.Atom, int], linked: set[app.topology.Atom]
) -> str:
    atoms = {atom.name: atom for atom in residue.atoms()}

    def count(*names: str) -> int:
        return sum(hydrogens.get(atoms[name], 0) for name in names if name in atoms)

    name: str = residue.name
    if name in _ACID_OXYGENS:
        return _PROTONATED[name] if count(*_ACID_OXYGENS[name]) else name
    if name == "HIS":
        return {(1, 0): "HID", (0, 1): "HIE", (1, 1): "HIP"}.get((count("ND1"), count("NE2")), "HIS")
    if name == "LYS":
        return "LYN" if count("NZ") == 2 else "LYS"
    if name == "CYS" and "SG" in atoms:
        return "CYX" if atoms["SG"] in linked else "CYS" if count("SG") else "CYM"
    return name


def disagreement(residue: Residue, state: str, found: Connections) -> bool:
    """Whether the hydrogens of a residue say something else than its name, or leave out what its name implies."""
    variant = wanted(residue, found)
    if residue.name == "CYS":
        return state != {"CYX": "CYX" if found.disulfide(residue) else "CYM", "CYS": "CYS"}[variant or "CYS"]
    if residue.name == "LYS":
        return state != (variant or "LYS")
    return variant is not None and variant != state


def protonation_note(residues: list[Residue], names: list[str], ph: float) -> list[str]:
    """What every titratable residue became, and why, in one sentence; nothing where there are none."""
    shown = [
        f"{name} {residue.key[0]}:{residue.key[1]}{residue.key[2]}"
        for residue, name in zip(residues, names, strict=True)
        if residue.name in TITRATABLE
    ]
    named = any(residue.state for residue in residues if residue.name in TITRATABLE)
    how = f"by name, else by the hydrogens there are, else at pH {ph:g}" if named else f"at pH {ph:g}"
    return [f"protonation {how}: {listed(shown)}"] if shown else []
