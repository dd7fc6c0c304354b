"""PDB files with all bonds: what other programs read from them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import mdtraj
import networkx as nx
import numpy as np
import pytest
from openmm import app

from latentmd.io.pdb import pdb_text, write_pdb
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled


def _bonds(topology: app.Topology) -> set[frozenset[int]]:
    return {frozenset((a.index, b.index)) for a, b in topology.bonds()}


def _records(text: str) -> nx.Graph:
    """The molecule as a program sees it that reads bonds from CONECT records alone."""
    numbers = [int(line[6:11]) for line in text.splitlines() if line[:6] in ("ATOM  ", "HETATM")]
    graph = nx.Graph()
    graph.add_nodes_from(range(len(numbers)))
    for line in text.splitlines():
        if line.startswith("CONECT"):
            atom, *others = (numbers.index(int(line[i : i + 5])) for i in range(6, len(line), 5))
            graph.add_edges_from((atom, other) for other in others)
    return graph


@pytest.fixture(scope="module")
def peptide() -> Any:
    return build(bundled("trialanine"))


def test_every_bond_is_stated(alanine: Any, peptide: Any) -> None:
    for molecule in (alanine, peptide):
        graph = _records(pdb_text(molecule.topology, molecule.positions._value))
        assert {frozenset(edge) for edge in graph.edges} == _bonds(molecule.topology)
        assert nx.number_connected_components(graph) == 1


def test_openmm_mdtraj_and_the_builder_read_it_back(alanine: Any, peptide: Any, tmp_path: Path) -> None:
    for molecule in (alanine, peptide):
        path = tmp_path / "topology.pdb"
        write_pdb(path, molecule.topology, molecule.positions._value)
        assert _bonds(app.PDBFile(str(path)).topology) == _bonds(molecule.topology)
        read = mdtraj.load(str(path))
        assert {frozenset((a.index, b.index)) for a, b in read.topology.bonds} == _bonds(molecule.topology)
        assert read.topology.n_bonds == len(_bonds(molecule.topology))
        np.testing.assert_allclose(read.xyz[0], molecule.positions._value, atol=6e-5)
        again = build(path)
        assert not again.added and _bonds(again.topology) == _bonds(molecule.topology)


def test_an_atom_with_more_bonds_than_a_record_holds() -> None:
    topology = app.Topology()
    residue = topology.addResidue("LIG", topology.addChain())
    atoms = [topology.addAtom(f"C{i}", app.element.carbon, residue) for i in range(7)]
    for atom in atoms[1:]:
        topology.addBond(atoms[0], atom)
    text = pdb_text(topology, np.arange(21.0).reshape(7, 3))
    assert _records(text).degree[0] == 6
    assert _bonds(app.PDBFile(io.StringIO(text)).topology) == _bonds(topology)
