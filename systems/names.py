"""Names that files give to residues and atoms, and what they say about protonation and handedness.

Amber: Case et al., Amber manual, chapter on residue names. CHARMM: MacKerell et al., J. Phys. Chem. B 102, 3586 (1998).
GROMACS: names written by pdb2gmx. D amino acids: the wwPDB Chemical Component Dictionary.
"""

from __future__ import annotations

from functools import cache

from openmm import app
from openmm.app.element import Element

AMINO_ACIDS = frozenset("ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split())
CAPS = frozenset(("ACE", "NME", "NH2"))
WATER = frozenset("HOH WAT TIP3 TIP TP3 SOL DOD H2O TIP4 TIP5 SPC SPCE OPC".split())
IONS = frozenset(
    "NA NA+ SOD CL CL- CLA K K+ POT LI LI+ LIT RB CS CES MG MG2 MG2+ CA CA2 CA2+ CAL ZN ZN2 ZN2+ MN FE FE2 CU CU1 CO "
    "NI CD HG BR BR- I IOD F SR BA".split()
)


def _table(pairs: str) -> dict[str, str]:
    """Dictionary of pairs such as "HID:HIS"."""
    return {name: standard for name, standard in (pair.split(":") for pair in pairs.split())}


#: Standard residue of a name that also tells the protonation state.
STATES = _table("HID:HIS HIE:HIS HIP:HIS ASH:ASP GLH:GLU LYN:LYS CYX:CYS CYM:CYS")
#: Other programs' names → (standard residue or state).
_ALIASES = _table(
    "HSD:HID HSE:HIE HSP:HIP HISD:HID HISE:HIE HISH:HIP HISP:HIP HISA:HID HISB:HIE HIS1:HID HIS2:HIE "
    "ASPH:ASH ASPP:ASH GLUH:GLH GLUP:GLH LSN:LYN LYSN:LYN LYSH:LYS LYP:LYS CYS2:CYX CYSS:CYX CYSH:CYS "
    "CYN:CYM NMA:NME CT3:NME NAC:NME NHE:NH2"
)
D_AMINO_ACIDS = _table(
    "DAL:ALA DAR:ARG DSG:ASN DAS:ASP DCY:CYS DGN:GLN DGL:GLU DHI:HIS DIL:ILE DLE:LEU DLY:LYS MED:MET DPN:PHE "
    "DPR:PRO DSN:SER DTH:THR DTR:TRP DTY:TYR DVA:VAL"
)
PHOSPHATES = frozenset(("SEP", "TPO", "PTR", "S1P", "T1P", "Y1P"))
#: Net charge of residues in the middle of a chain, e.
CHARGES = {"ARG": 1, "LYS": 1, "HIP": 1, "ASP": -1, "GLU": -1, "CYM": -1}
# Heavy atoms and hydrogens that OpenMM's own table does not know, of each residue.
_ATOMS = {
    "NME": _table(
        "CH3:C CA:C CAT:C NT:N HN:H HN1:H HNT:H HT1:H1 HT2:H2 HT3:H3 HH31:H1 HH32:H2 HH33:H3 1HH3:H1 "
        "2HH3:H2 3HH3:H3 HA1:H1 HA2:H2 HA3:H3"
    ),
    "ACE": _table(
        "CA:CH3 CAY:CH3 CY:C OY:O HH31:H1 HH32:H2 HH33:H3 HY1:H1 HY2:H2 HY3:H3 1HH3:H1 2HH3:H2 3HH3:H3 "
        "HA1:H1 HA2:H2 HA3:H3"
    ),
    "HIS": _table("HNE2:HE2 HND1:HD1"),
}


def standard_residue(name: str) -> tuple[str, str | None]:
    """Standard name of a residue and the state it tells, such as ("HIS", "HIP") for HSP, ("ALA", None) for DAL."""
    if len(name) == 4 and name[0] in "NC" and (name[1:] in AMINO_ACIDS or name[1:] in STATES):
        name = name[1:]  # Amber's names of residues at the ends
    protonated = name in ("LYSH", "LYP", "CYSH")
    name = D_AMINO_ACIDS.get(name, _ALIASES.get(name, name))
    if name in STATES:
        return STATES[name], name
    if name in WATER:
        return "HOH", None
    return name, name if protonated else None


@cache
def _tables() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    app.PDBFile._loadNameReplacementTables()
    return dict(app.PDBFile._residueNameReplacements), dict(app.PDBFile._atomNameReplacements)


def standard_atom(residue: str, name: str) -> str:
    """Standard name of an atom of a residue of standard name."""
    return _ATOMS.get(residue, {}).get(name) or _tables()[1].get(residue, {}).get(name, name)


def other_names(name: str) -> str:
    """Standard name of a residue by OpenMM's table (nucleotides of older files), or the name itself."""
    return _tables()[0].get(name, name)


def element_of(residue: str, name: str, stated: str) -> Element | None:
    """OpenMM Element of an atom, None where nothing tells it; ValueError where file and standard name disagree."""
    known, letters = Element._elements_by_symbol, name.lstrip("0123456789")
    expected = letters[:1] if residue in AMINO_ACIDS or residue in CAPS or residue == "HOH" else ""
    symbol = "H" if stated == "D" else stated
    if expected and symbol and expected != symbol:
        raise ValueError(f"its element is given as {stated}, its name says {expected}")
    if expected or symbol:
        return known.get((expected or symbol).upper())
    guess = letters[:2].capitalize() if residue in IONS or len(residue) <= 2 else letters[:1]
    return known.get(guess.upper()) or known.get(letters[:1].upper())
