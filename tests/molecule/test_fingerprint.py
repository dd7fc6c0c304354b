"""The fingerprint of a molecule: what it depends on, and what not."""

from __future__ import annotations

import io
from pathlib import Path

import mdtraj
from openmm import app

from latentmd.molecule.chemistry import chemistry
from latentmd.molecule.fingerprint import fingerprint

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def from_text(text: str) -> app.Topology:
    return app.PDBFile(io.StringIO(text)).topology


def test_fingerprint_ignores_numbering_chains_and_hydrogen_names() -> None:
    text = PDB.read_text()
    renumbered = "\n".join(
        line[:21] + "Q" + f"{int(line[22:26]) + 40:4d}" + line[26:] if line.startswith(("ATOM", "HETATM")) else line
        for line in text.splitlines()
    )
    reference = fingerprint(from_text(text))
    assert fingerprint(from_text(renumbered)) == reference
    assert fingerprint(from_text(text.replace(" HB1 ALA", "1HB  ALA"))) == reference
    assert fingerprint(from_text(text.replace("NME", "NMX"))) != reference


def test_it_is_the_same_for_every_record_of_the_molecule() -> None:
    topology = from_text(PDB.read_text())
    found = fingerprint(topology)
    assert len(found) == 64 and int(found, 16) >= 0
    assert fingerprint(mdtraj.Topology.from_openmm(topology)) == fingerprint(chemistry(topology)) == found


def test_protonation_counts() -> None:
    lines = PDB.read_text().splitlines()
    bare = "\n".join(line for line in lines if " HB1 ALA" not in line and not line.startswith("CONECT"))
    assert fingerprint(from_text(bare)) != fingerprint(from_text(PDB.read_text()))
