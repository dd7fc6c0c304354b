"""Whether a model covers a molecule, without torch."""

from __future__ import annotations

import hashlib
import json

from latentmd.molecule.chemistry import Topology, chemistry
from latentmd.molecule.tokens import residue_tokens


def fingerprint(topology: Topology) -> str:
    """SHA-256 over elements, residue names and bonds in atom order: whether a model covers a molecule.

    It does not depend on the program that read the file, on residue numbers, chain names or hydrogen names; it does
    depend on the order of the atoms and on protonation.
    """
    record = chemistry(topology)
    first = residue_tokens(record)
    content = {"elements": record.symbols, "residues": record.residues, "tokens": first, "bonds": record.bonds}
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
