"""Which residues are bonded to each other: chains, gaps, rings of a whole chain, disulfides and other links."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from latentmd.systems.names import AMINO_ACIDS, CAPS, IONS
from latentmd.systems.protocol import MoleculeError
from latentmd.systems.readers.records import Key, LinkRecord, Records
from latentmd.systems.residues import Atom, Residue, listed
from latentmd.systems.sanity import LONGEST_BOND

_PEPTIDE = 0.17  # nm; a C-N bond (0.133) that MD at high temperature or a crude model has stretched
_UNBONDED = 0.16  # nm; heavy atoms that are not bonded are never nearer
# Longest distance of two atoms of neighbouring residues that are bonded, nm, for residues without C or N.
_REACH = ((("C", "N"), LONGEST_BOND), (("CA", "N"), 0.29), (("C", "CA"), 0.29), (("CA", "CA"), 0.43))

Bond = tuple[Residue, str, Residue, str]


@dataclass(eq=False)
class Connections:
    """How residues hang together: chains, and bonds between atoms of different residues, notes on what was decided.

    `inner` bonds CONECT states within other residues; `gaps` are residues before and after, nm; `rings` closed chains.
    """

    chains: list[list[Residue]] = field(default_factory=list)
    bonds: list[Bond] = field(default_factory=list)
    inner: list[Bond] = field(default_factory=list)
    gaps: list[tuple[Residue, Residue, float]] = field(default_factory=list)
    rings: set[int] = field(default_factory=set)
    cell: tuple[float, ...] | None = None
    notes: list[str] = field(default_factory=list)

    def disulfide(self, residue: Residue) -> bool:
        """Whether a residue's sulfur is bonded to another one."""
        return any((residue, "SG") in (bond[:2], bond[2:]) for bond in self.bonds)


def connect(residues: list[Residue], records: Records) -> Connections:
    """Find the bonds between residues from distances and from what the file states."""
    found = Connections(cell=records.cell)
    stated = _stated(residues, records, found)
    for before, residue in zip([None, *residues], residues, strict=False):
        if before is not None and _continues(before, residue, found):
            found.chains[-1].append(residue)
        else:
            found.chains.append([residue])
    _rings(found, stated)
    _disulfides(residues, found, stated)
    known = set(map(_ends, found.bonds))
    found.bonds += [bond for bond in stated if _ends(bond) not in known]
    return found


def _ends(bond: Bond) -> frozenset[tuple[Residue, str]]:
    """The two atoms of a bond, in no order."""
    return frozenset((bond[:2], bond[2:]))


def refuse_unbonded(found: Connections) -> None:
    """Refuse heavy atoms of two residues that are as near as bonded ones, and are not bonded."""
    from scipy.spatial import cKDTree

    heavy = [(r, a) for chain in found.chains for r in chain for a in r.atoms if a.name not in r.hydrogens]
    known = set(map(_ends, found.bonds))
    for i, j in sorted(cKDTree([atom.position for _, atom in heavy]).query_pairs(_UNBONDED)) if heavy else ():
        (a, x), (b, y) = heavy[i], heavy[j]
        if a is b or _ends((a, x.name, b, y.name)) in known:
            continue
        reason = "atoms that overlap, or a bond that needs a LINK or CONECT record"
        if {x.name, y.name} == {"C", "N"} and a.amino_acid and b.amino_acid:
            reason = "a peptide bond between residues that do not follow each other in the file; put them in order"
        raise MoleculeError(f"{a.label(x.name)} and {b.label(y.name)} are {distance(x, y):.3f} nm apart: {reason}")


def distance(a: Atom, b: Atom) -> float:
    """Distance of two atoms, nm."""
    return math.dist(a.position, b.position)


def _polymer(residue: Residue) -> bool:
    return residue.amino_acid or residue.name in CAPS


def _continues(before: Residue, after: Residue, found: Connections) -> bool:
    """Whether a residue belongs to the chain of the one before it; records bonds and gaps."""
    marked = before.segment != after.segment or before.key[0] != after.key[0]
    gap, limit = _separation(before, after)
    if gap <= (_PEPTIDE if marked else limit):
        found.bonds.append((before, "C", after, "N"))
        if marked:
            how = f"bonded (C-N {gap:.3f} nm), though the file ends a chain there"
            found.notes.append(f"{before} and {after} are {how}")
        return True
    oxygen, phosphorus = before.get("O3'"), after.get("P")
    if oxygen is not None and phosphorus is not None and distance(oxygen, phosphorus) <= LONGEST_BOND:
        found.bonds.append((before, "O3'", after, "P"))  # of nucleotides
        return True
    if not (_polymer(before) and _polymer(after)):
        return not marked and not _polymer(before) and not _polymer(after)
    ended = before.get("OXT") is not None or before.name in ("NME", "NH2") or after.name == "ACE"
    if marked or ended:
        if not marked:
            found.notes.append(f"a new chain begins with {after}, though no TER record marks it")
        return False
    if (after.key[1], after.key[2]) <= (before.key[1], before.key[2]):
        found.notes.append(f"a new chain begins with {after}, where the numbering starts again, without a TER record")
        return False
    found.gaps.append((before, after, gap))
    return False


def _separation(before: Residue, after: Residue) -> tuple[float, float]:
    """Distance of the two atoms that tell whether residues are bonded, and the longest one at which they are, nm."""
    for (first, second), limit in _REACH:
        a, b = before.get(first), after.get(second)
        if a is not None and b is not None:
            return distance(a, b), limit if _polymer(before) and _polymer(after) else min(limit, _PEPTIDE)
    return math.inf, 0.0


def _rings(found: Connections, stated: list[Bond]) -> None:
    """Chains whose last C is bonded to their first N, by a record or by distance."""
    for index, chain in enumerate(found.chains):
        first, last = chain[0], chain[-1]
        head, tail = first.get("N"), last.get("C")
        if len(chain) < 3 or head is None or tail is None or first.name in CAPS or last.name in CAPS:
            continue
        if _ends((first, "N", last, "C")) in map(_ends, stated) or distance(head, tail) <= _PEPTIDE:
            if last.get("OXT") is not None:
                raise MoleculeError(f"{last} has the end oxygen OXT and is bonded to {first}; leave out one of both")
            found.rings.add(index)
            found.bonds.append((last, "C", first, "N"))
            found.notes.append(f"cyclic peptide: {last} is bonded to {first}")


def _disulfides(residues: list[Residue], found: Connections, stated: list[Bond]) -> None:
    sulfurs = [(residue, atom) for residue in residues if residue.name == "CYS" and (atom := residue.get("SG"))]
    pairs = [(a, b) for a, x, b, y in stated if (x, y) == ("SG", "SG")]
    taken = {residue for pair in pairs for residue in pair}
    for i, (a, first) in enumerate(sulfurs):
        near = [(distance(first, second), b) for b, second in sulfurs[i + 1 :] if b not in taken]
        close = [item for item in near if item[0] <= LONGEST_BOND]
        if a in taken or not close:
            continue
        b = min(close, key=lambda item: item[0])[1]
        for residue in (a, b):
            if residue.state == "CYM" or "HG" in residue.hydrogens:
                what = "named as a thiolate" if residue.state == "CYM" else "a thiol with its hydrogen HG"
                where = f"the sulfurs of {a} and {b} are within {LONGEST_BOND} nm, which is a disulfide"
                raise MoleculeError(f"{where}, but {residue} is {what}; correct one")
        taken |= {a, b}
        pairs.append((a, b))
        found.bonds.append((a, "SG", b, "SG"))
    if pairs:
        found.notes.append("disulfides: " + listed(f"{a} to {b}" for a, b in pairs))
    lone = [residue for residue, _ in sulfurs if residue.state == "CYX" and residue not in taken]
    if lone:
        raise MoleculeError(
            f"{lone[0]} is named as half of a disulfide, but no other sulfur is within {LONGEST_BOND} nm of its SG; "
            "name it CYS (thiol) or CYM (thiolate), or correct the coordinates"
        )


def _stated(residues: list[Residue], records: Records, found: Connections) -> list[Bond]:
    """Bonds of SSBOND, LINK, CONECT and struct_conn records between residues that are there."""
    named: defaultdict[tuple[Key, str] | int, list[tuple[Residue, Atom]]] = defaultdict(list)
    for residue in residues:
        for atom in residue.atoms:
            named[residue.key, atom.name].append((residue, atom))
            named[atom.serial].append((residue, atom))
    bonds: dict[frozenset[tuple[Residue, str]], Bond] = {}
    for link in records.links:
        missing = [side for side in (link.first, link.second) if len(named[side]) != 1]
        if missing:
            if isinstance(missing[0], tuple):
                (chain, number, insertion), called = missing[0]
                where = f"{chain}:{number}{insertion}:{called}"
                found.notes.append(f"{link.kind} record ignored: {where} is not in the file, or twice")
            continue
        (a, x), (b, y) = named[link.first][0], named[link.second][0]
        bond = _checked(link, found, a, x, b=b, y=y)
        if bond is not None:
            bonds.setdefault(_ends(bond), bond)
    return list(bonds.values())


def _checked(link: LinkRecord, found: Connections, a: Residue, x: Atom, b: Residue, y: Atom) -> Bond | None:
    """A stated bond, where it is one between residues; refused where it is too long."""
    if link.symmetry:
        found.notes.append(f"{link.kind} {a} to {b} leads to another copy in the crystal: ignored")
        return None
    bond = (a, x.name, b, y.name)
    if a is b:
        if a.name not in {*AMINO_ACIDS, *CAPS, "HOH"}:
            found.inner.append(bond)
        return None
    if a.name in IONS or b.name in IONS or "HOH" in (a.name, b.name):
        return None
    if x.name in a.hydrogens or y.name in b.hydrogens:
        return None  # hydrogen bonds of older files
    length = distance(x, y)
    if length > LONGEST_BOND:
        raise MoleculeError(
            f"the {link.kind} record bonds {a.label(x.name)} to {b.label(y.name)}, which are {length:.3f} nm apart; "
            f"expected at most {LONGEST_BOND} nm: correct the coordinates, or remove the record"
        )
    return bond
