"""Molecular graphs: features, both topology classes, fingerprints."""

from __future__ import annotations

import io
from pathlib import Path

import mdtraj
import pytest
import torch
from openmm import app

from latentmd.molecule.chemistry import chemistry, fingerprint
from latentmd.molecule.features import FEATURE_SIZES, molecule_graph

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.fixture(scope="module")
def topologies() -> tuple[app.Topology, mdtraj.Topology]:
    return app.PDBFile(str(PDB)).topology, mdtraj.load(str(PDB)).topology


def from_text(text: str) -> app.Topology:
    return app.PDBFile(io.StringIO(text)).topology


def test_openmm_and_mdtraj_give_the_same_graph(topologies: tuple[app.Topology, mdtraj.Topology]) -> None:
    ours, theirs = (molecule_graph(topology) for topology in topologies)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert fingerprint(topologies[0]) == fingerprint(topologies[1])
    assert all((ours.features[:, k] < size).all() for k, size in enumerate(FEATURE_SIZES))
    assert (ours.features[:, :3] > 0).all()
    assert sum(chemistry(topologies[0]).masses) == pytest.approx(144.17, abs=0.01)


def test_equivalent_hydrogens_are_identical(topologies: tuple[app.Topology, mdtraj.Topology]) -> None:
    graph, names = molecule_graph(topologies[0]), chemistry(topologies[0]).labels
    for methyl in (("ACE1-H1", "ACE1-H2", "ACE1-H3"), ("ALA2-HB1", "ALA2-HB2", "ALA2-HB3")):
        rows = [graph.features[names.index(name)] for name in methyl]
        assert all(torch.equal(row, rows[0]) for row in rows)
    first, second = (graph.features[names.index(name)] for name in ("ALA2-HA", "ALA2-HB1"))
    assert not torch.equal(first, second)


def test_separation_counts_bonds(topologies: tuple[app.Topology, mdtraj.Topology]) -> None:
    graph, names = molecule_graph(topologies[0]), chemistry(topologies[0]).labels
    at = {name: k for k, name in enumerate(names)}
    assert graph.separation[at["ALA2-CA"], at["ALA2-CA"]] == 0
    assert graph.separation[at["ALA2-N"], at["ALA2-CA"]] == 1
    assert graph.separation[at["ALA2-N"], at["ALA2-CB"]] == 2
    assert graph.separation[at["ALA2-N"], at["NME3-N"]] == 3
    assert graph.separation[at["ACE1-H1"], at["NME3-H1"]] == 4
    assert torch.equal(graph.separation, graph.separation.T)


def test_permutation_of_atoms_permutes_the_graph(topologies: tuple[app.Topology, mdtraj.Topology]) -> None:
    topology = topologies[0]
    order = [2, 0, 1, *range(3, 22)]
    lines = [line for line in PDB.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]
    moved = from_text("\n".join([*(lines[i] for i in order), "END", ""]))
    one, two = molecule_graph(topology), molecule_graph(moved)
    assert torch.equal(two.features, one.features[order])
    assert torch.equal(two.separation, one.separation[order][:, order])
    assert fingerprint(moved) != fingerprint(topology)


def test_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match=r"pass its \.topology"):
        molecule_graph(app.PDBFile(str(PDB)))
    with pytest.raises(TypeError, match=r"found builtins\.str"):
        molecule_graph("molecule.pdb")
    with pytest.raises(ValueError, match="no atoms"):
        molecule_graph(app.Topology())
