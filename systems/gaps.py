"""Residues missing in the middle of a chain: named, and modelled from the sequence or split on request."""

from __future__ import annotations

from latentmd.systems.caps import add_caps
from latentmd.systems.connections import Connections
from latentmd.systems.errors import MoleculeError
from latentmd.systems.names import AMINO_ACIDS, standard_residue
from latentmd.systems.protocol import InputOptions
from latentmd.systems.readers.records import Records
from latentmd.systems.residues import Residue, listed

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
        raise MoleculeError(
            f"{listed(names)} cannot span the {apart:.2f} nm from {before} to {after}; correct SEQRES or coordinates"
        )
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
    choices = []
    for i in range(len(left), len(sequence) - len(right) + 1):
        if sequence[i : i + len(right)] != right:
            continue
        for j in range(len(left), i + 1):
            if sequence[j - len(left) : j] == left and i > j:
                choices.append(sequence[j:i])
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
    names = records.sequences.get(chain, [])
    return ["MET" if name == "MSE" else standard_residue(name)[0] for name in names]


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
