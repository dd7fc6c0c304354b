"""Peptides built from ideal geometry, as PDB text, records, residues and connections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from latentmd.systems.peptide import backbone, pdb_block
from latentmd.systems.protocol import DEFAULT_INPUTS
from latentmd.systems.readers.columns import read_pdb
from latentmd.systems.readers.records import Records
from latentmd.systems.residues import Residue, choose

PATH = Path("made.pdb")


@pytest.fixture(scope="session")
def records() -> Callable[..., Records]:
    """records("ALA", "GLY", ...): of the heavy atoms of the backbone (and C-beta) of a peptide."""
    return lambda *names: read_pdb(pdb_block(backbone(list(names))), PATH)


@pytest.fixture(scope="session")
def residues(records: Callable[..., Records]) -> Callable[..., list[Residue]]:
    """residues("ALA", "GLY", ...): the same as residues."""
    return lambda *names: choose(records(*names), DEFAULT_INPUTS)[0]
