"""Caps of chain ends: acetyl (ACE) and N-methyl amide (NME), placed by the geometry of peptides."""

from __future__ import annotations

import numpy as np
from openmm import app

from latentmd.arrays import Doubles
from latentmd.systems.connections import Connections
from latentmd.systems.errors import MoleculeError
from latentmd.systems.names import AMINO_ACIDS
from latentmd.systems.peptide import place_atom
from latentmd.systems.residues import Atom, Residue

# nm and degrees: Engh & Huber, Acta Cryst. A47, 392 (1991), as in `peptide`.
_C_N, _C_O, _N_C, _C_C = 0.1329, 0.1231, 0.1458, 0.1525
_CA_C_N, _C_N_CA, _CA_C_O = 117.2, 121.7, 120.1
_TORSIONS = range(-180, 180, 15)
_USUAL = -75.0  # phi, tried first
_ENOUGH = 0.3  # nm between heavy atoms


def add_caps(found: Connections) -> set[int]:
    """Put ACE before and NME after every chain of amino acids that is no ring; indices of chains with a new ACE."""
    begun = set()
    for index, chain in enumerate(found.chains):
        if index in found.rings:
            continue
        caps = []
        first, last = chain[0], chain[-1]
        if last.amino_acid:
            last.atoms = [atom for atom in last.atoms if atom.name not in ("OXT", "HXT")]
            chain.append(_nme(last))
            found.bonds.append((last, "C", chain[-1], "N"))
            caps.append(f"NME after {last}")
        if first.amino_acid:
            first.atoms = [atom for atom in first.atoms if atom.name not in ("H", "H1", "H2", "H3", "HXT")]
            chain.insert(0, _ace(first, found))
            found.bonds.append((chain[0], "C", first, "N"))
            caps.insert(0, f"ACE before {first}")
            begun.add(index)
        if caps:
            found.notes.append(f"caps added: {' and '.join(caps)}")
    return begun


def refuse_lone(found: Connections) -> None:
    """Refuse an amino acid by itself, whose two charged ends the force fields of proteins do not describe."""
    for index, chain in enumerate(found.chains):
        if len(chain) == 1 and chain[0].name in AMINO_ACIDS and index not in found.rings:
            raise MoleculeError(
                f"{chain[0]} is a residue by itself with two charged ends, for which the force field has no "
                "parameters; --ends capped adds ACE and NME"
            )


def _backbone(residue: Residue) -> list[Doubles]:
    atoms = [residue.get(name) for name in ("N", "CA", "C")]
    if None in atoms:
        raise MoleculeError(f"{residue} lacks N, CA or C, by which a cap is placed; complete the file")
    return [np.array(atom.position) for atom in atoms if atom is not None]


def _nme(last: Residue) -> Residue:
    """Opposite to the oxygen of the last residue, which is added where it is missing."""
    n, ca, c = _backbone(last)
    oxygen = last.get("O")
    if oxygen is None:
        x, y, z = place_atom(n, ca, c, bond=_C_O, angle=_CA_C_O, torsion=-35.0).tolist()
        oxygen = Atom("O", app.element.oxygen, (x, y, z))
        last.atoms.append(oxygen)
    nitrogen = place_atom(np.array(oxygen.position), ca, c, bond=_C_N, angle=_CA_C_N, torsion=180.0)
    methyl = place_atom(ca, c, nitrogen, bond=_N_C, angle=_C_N_CA, torsion=180.0)
    return _cap("NME", last, 1, [("N", app.element.nitrogen, nitrogen), ("C", app.element.carbon, methyl)])


def _ace(first: Residue, found: Connections) -> Residue:
    """Where there is most room around the nitrogen of the first residue; opposite to CD of a proline."""
    n, ca, c = _backbone(first)
    others = np.array([a.position for chain in found.chains for r in chain for a in r.atoms if r is not first])
    inner = np.array([a.position for a in first.atoms if a.name not in ("N", "CA")])
    around = np.concatenate([part for part in (others, inner) if len(part)])

    def placed(phi: float) -> list[tuple[str, app.element.Element, Doubles]]:
        carbon = place_atom(c, ca, n, bond=_C_N, angle=_C_N_CA, torsion=phi)
        methyl = place_atom(ca, n, carbon, bond=_C_C, angle=_CA_C_N, torsion=180.0)
        oxygen = place_atom(ca, n, carbon, bond=_C_O, angle=360.0 - _CA_C_N - _CA_C_O, torsion=0.0)
        elements = app.element.carbon, app.element.oxygen
        return [("CH3", elements[0], methyl), ("C", elements[0], carbon), ("O", elements[1], oxygen)]

    def room(phi: float) -> float:
        """Distance to the nearest other atom, nm; enough is enough."""
        return min(_ENOUGH, *(float(np.linalg.norm(around - x, axis=1).min()) for _, _, x in placed(phi)))

    return _cap("ACE", first, -1, placed(max([_USUAL, *_TORSIONS], key=room)))


def _cap(name: str, beside: Residue, step: int, atoms: list[tuple[str, app.element.Element, Doubles]]) -> Residue:
    made = [Atom(label, element, (float(x[0]), float(x[1]), float(x[2]))) for label, element, x in atoms]
    key = (beside.key[0], beside.key[1] + step, "")
    return Residue(name, name, None, key=key, segment=beside.segment, atoms=made)
