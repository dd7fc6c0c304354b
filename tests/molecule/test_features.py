"""Molecular graphs: features, both topology classes, fingerprints, frames as torch-geometric batches."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import mdtraj
import pytest
import torch
from openmm import app

from latentmd.molecule.chemistry import chemistry
from latentmd.molecule.features import FEATURE_SIZES, fingerprint, graph_frames, molecule_graph
from latentmd.molecule.tokens import residue_tokens, token_names

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
    assert float(ours.masses.sum()) == pytest.approx(144.17, abs=0.01)


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


def test_tokens(topologies: tuple[app.Topology, mdtraj.Topology]) -> None:
    assert residue_tokens(topologies[0]) == (0,) * 6 + (1,) * 10 + (2,) * 6
    assert token_names(topologies[1]) == ("ACE1", "ALA2", "NME3")


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


def test_histidine_names_share_a_residue_type() -> None:
    lines = [line for line in PDB.read_text().splitlines() if " ALA " in line]
    for name in ("HID", "HIE", "HSD"):
        record = chemistry(mdtraj_topology_with(lines, name))
        assert set(record.residues) == {"HIS"}


def mdtraj_topology_with(lines: list[str], residue: str) -> mdtraj.Topology:
    """A topology of ALA's atoms and bonds whose residue has another name."""
    topology = from_text("\n".join([*lines, "END", ""]))
    out = mdtraj.Topology.from_openmm(topology)
    next(out.residues).name = residue
    return out


def test_missing_bonds_are_named() -> None:
    text = "\n".join(line for line in PDB.read_text().replace("ALA", "XYZ").splitlines() if "CONECT" not in line)
    with pytest.raises(ValueError, match=r"Residue XYZ2 .* XYZ2-N, XYZ2-H.*CONECT"):
        chemistry(from_text(text))


def test_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match=r"pass its \.topology"):
        molecule_graph(app.PDBFile(str(PDB)))
    with pytest.raises(TypeError, match=r"found builtins\.str"):
        molecule_graph("molecule.pdb")
    with pytest.raises(ValueError, match="no atoms"):
        molecule_graph(app.Topology())


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch-geometric calls it when imported
def test_frames_with_all_pairs(topologies: tuple[app.Topology, mdtraj.Topology]) -> None:
    graph = molecule_graph(topologies[0])
    x = torch.from_numpy(mdtraj.load(str(PDB)).xyz).repeat(3, 1, 1)
    batch = graph_frames(graph, x)
    assert batch.num_graphs == 3
    assert batch.edge_index.shape == (2, 3 * 22 * 21)
    assert batch.token.tolist() == [t + 3 * k for k in range(3) for t in graph.tokens.tolist()]
    sender, receiver = batch.edge_index
    assert torch.equal(batch.edge_separation, graph.separation[sender % 22, receiver % 22])
    with pytest.raises(ValueError, match=r"\(frames, 22, 3\), found \(3, 20, 3\)"):
        graph_frames(graph, x[:, :20])


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_frames_in_a_box_use_the_minimum_image(topologies: tuple[app.Topology, mdtraj.Topology]) -> None:
    graph = molecule_graph(topologies[0])
    x = torch.from_numpy(mdtraj.load(str(PDB)).xyz)
    box = torch.diag(torch.tensor([3.0, 2.5, 4.0])).unsqueeze(0)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(-2, 3, (1, 22, 3), generator=generator) * torch.tensor([3.0, 2.5, 4.0])
    whole, cut = graph_frames(graph, x, 0.5), graph_frames(graph, x + images, 0.5, box)
    assert torch.equal(whole.edge_index, cut.edge_index)
    assert whole.edge_index.shape[1] < 22 * 21

    def vectors(batch: Any) -> torch.Tensor:
        return batch.pos[batch.edge_index[1]] - batch.pos[batch.edge_index[0]] + batch.shift

    assert torch.allclose(vectors(whole), vectors(cut), atol=1e-5)
    with pytest.raises(ValueError, match=r"half the shortest box width \(1.25 nm\)"):
        graph_frames(graph, x, 1.3, box)
