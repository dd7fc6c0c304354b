"""Gaps and ends of chains: missing residues named, modelled from the sequence or split on request, and caps."""

from __future__ import annotations

import numpy as np
from openmm import app

from latentmd.arrays import Doubles
from latentmd.systems.connections import Connections
from latentmd.systems.names import AMINO_ACIDS, standard_residue
from latentmd.systems.peptide import C_N, C_N_CA, C_O, CA_C, CA_C_N, CA_C_O, N_CA, place_atom
from latentmd.systems.protocol import InputOptions, MoleculeError
from latentmd.systems.readers.records import Records
from latentmd.systems.residues import Atom, Residue, listed

#: (chain, place in it) → names of residues to insert there, as PDBFixer takes them.
Fill = dict[tuple[int, int], list[str]]
_LONGEST_STEP = 0.42  # nm from C-alpha to C-alpha, stretched


def close_gaps(found: Connections, records: Records, options: InputOptions) -> Fill:
    """Treat every gap as the options say, and cap the ends where asked for; changes `found.chains`."""
    if found.gaps and options.missing == "refuse":
        before, after, gap = found.gaps[0]
        more = f" ({len(found.gaps)} such gaps)" if len(found.gaps) > 1 else ""
        raise MoleculeError(
            f"residues are missing between {before} and {after}{more}: {_apart(gap)}, no peptide bond; "
            "--missing add models those that SEQRES names, --missing split makes two chains of it"
        )
    fill: Fill = {}
    if found.gaps and options.missing == "add":
        added = [_insert(found, records, before, after) for before, after, _ in found.gaps]
        for (_, after, _), names in zip(found.gaps, added, strict=True):
            fill[_place(found, after)] = names
    elif found.gaps:
        found.notes += [f"chain split between {a} and {b} ({_apart(gap)})" for a, b, gap in found.gaps]
    if options.ends == "capped":
        begun = add_caps(found)
        fill = {(chain, place + (chain in begun)): names for (chain, place), names in fill.items()}
    return fill


def _apart(gap: float) -> str:
    return f"{gap:.2f} nm apart" if gap < 1e6 else "their backbone atoms are missing"


def _place(found: Connections, residue: Residue) -> tuple[int, int]:
    return next((i, chain.index(residue)) for i, chain in enumerate(found.chains) if residue in chain)


def _insert(found: Connections, records: Records, before: Residue, after: Residue) -> list[str]:
    """Join the chains on both sides of a gap; returns the residues between them."""
    names = _missing_names(found, records, before, after)
    span = (len(names) + 1) * _LONGEST_STEP
    ends = [residue.get("CA") or residue.atoms[0] for residue in (before, after)]
    apart = sum((p - q) ** 2 for p, q in zip(ends[0].position, ends[1].position, strict=True)) ** 0.5
    if apart > span:
        raise MoleculeError(f"{listed(names)} cannot span {apart:.2f} nm from {before} to {after}; correct either")
    first, _ = _place(found, before)
    second, _ = _place(found, after)
    found.chains[first] += found.chains.pop(second)
    found.rings = {index - (index > second) for index in found.rings if index not in (first, second)}
    found.notes.append(f"modelled between {before} and {after}: {'-'.join(names)}")
    return names


def _missing_names(found: Connections, records: Records, before: Residue, after: Residue) -> list[str]:
    sequence = _sequence(records, before.key[0])
    if not sequence:
        raise MoleculeError(
            f"the residues missing between {before} and {after} are unknown: chain {before.key[0] or '-'} has no "
            "SEQRES records (_pdbx_poly_seq_scheme in mmCIF); add them, or use --missing split"
        )
    left = [r.name for r in found.chains[_place(found, before)[0]]]
    right = [r.name for r in found.chains[_place(found, after)[0]]]
    numbered = after.key[1] - before.key[1] - 1
    ends = [j for j in range(len(left), len(sequence)) if sequence[j - len(left) : j] == left]
    begins = [i for i in range(len(sequence) - len(right) + 1) if sequence[i : i + len(right)] == right]
    choices = [sequence[j:i] for i in begins for j in ends if i > j]
    fitting = [names for names in choices if len(names) == numbered] or (choices if len(choices) == 1 else [])
    if len({tuple(names) for names in fitting}) != 1:
        raise MoleculeError(
            f"SEQRES of chain {before.key[0]} does not tell which residues are missing between {before} and {after}; "
            "correct it, or use --missing split"
        )
    foreign = sorted(set(fitting[0]) - AMINO_ACIDS)
    if foreign:
        raise MoleculeError(f"{listed(foreign)} between {before} and {after} cannot be modelled; use --missing split")
    return fitting[0]


def _sequence(records: Records, chain: str) -> list[str]:
    """Standard names of the residues that the file's sequence gives to a chain."""
    return ["MET" if name == "MSE" else standard_residue(name)[0] for name in records.sequences.get(chain, [])]


def left_out(found: Connections, records: Records) -> list[str]:
    """Notes on residues that the sequence names before or after a chain and that have no coordinates."""
    notes = []
    for chain in records.sequences:
        sequence = _sequence(records, chain)
        residues = [r for part in found.chains for r in part if r.key[0] == chain and r.amino_acid]
        names = [residue.name for residue in residues]
        places = [i for i in range(len(sequence) - len(names) + 1) if names and sequence[i : i + len(names)] == names]
        if len(places) != 1:
            continue
        before, after = sequence[: places[0]], sequence[places[0] + len(names) :]
        ends = [f"{'-'.join(before)} before {residues[0]}"] if before else []
        ends += [f"{'-'.join(after)} after {residues[-1]}"] if after else []
        if ends:
            notes.append(f"named by the sequence, without coordinates, and left out: {' and '.join(ends)}")
    return notes


_TORSIONS = range(-180, 180, 15)
_USUAL = -75.0  # phi, tried first
_ENOUGH = 0.3  # nm between heavy atoms


def add_caps(found: Connections) -> set[int]:
    """Put ACE before and NME after every chain of amino acids that is no ring; indices of chains with a new ACE."""
    begun = set()
    for index, chain in enumerate(found.chains):
        if index in found.rings:
            continue
        caps, first, last = [], chain[0], chain[-1]
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
        x, y, z = place_atom(n, ca, c, bond=C_O, angle=CA_C_O, torsion=-35.0).tolist()
        oxygen = Atom("O", app.element.oxygen, (x, y, z))
        last.atoms.append(oxygen)
    nitrogen = place_atom(np.array(oxygen.position), ca, c, bond=C_N, angle=CA_C_N, torsion=180.0)
    methyl = place_atom(ca, c, nitrogen, bond=N_CA, angle=C_N_CA, torsion=180.0)
    return _cap("NME", last, 1, {"N": nitrogen, "C": methyl})


def _ace(first: Residue, found: Connections) -> Residue:
    """Where there is most room around the nitrogen of the first residue; opposite to CD of a proline."""
    n, ca, c = _backbone(first)
    others = np.array([a.position for chain in found.chains for r in chain for a in r.atoms if r is not first])
    inner = np.array([a.position for a in first.atoms if a.name not in ("N", "CA")])
    around = np.concatenate([part for part in (others, inner) if len(part)])

    def placed(phi: float) -> dict[str, Doubles]:
        carbon = place_atom(c, ca, n, bond=C_N, angle=C_N_CA, torsion=phi)
        methyl = place_atom(ca, n, carbon, bond=CA_C, angle=CA_C_N, torsion=180.0)
        oxygen = place_atom(ca, n, carbon, bond=C_O, angle=360.0 - CA_C_N - CA_C_O, torsion=0.0)
        return {"CH3": methyl, "C": carbon, "O": oxygen}

    def room(phi: float) -> float:
        """Distance to the nearest other atom, nm; enough is enough."""
        return min(_ENOUGH, *(float(np.linalg.norm(around - x, axis=1).min()) for x in placed(phi).values()))

    return _cap("ACE", first, -1, placed(max([_USUAL, *_TORSIONS], key=room)))


def _cap(name: str, beside: Residue, step: int, atoms: dict[str, Doubles]) -> Residue:
    places = {label: (float(x[0]), float(x[1]), float(x[2])) for label, x in atoms.items()}
    made = [Atom(label, app.Element.getBySymbol(label[0]), place) for label, place in places.items()]
    return Residue(name, name, None, key=(beside.key[0], beside.key[1] + step, ""), segment=beside.segment, atoms=made)
