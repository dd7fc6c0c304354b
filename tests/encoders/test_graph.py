"""Graph encoder: the network over neighbours is that over all pairs; symmetry, scripting, batches, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.encoders.egnn import EGNNEncoder, MoleculeEncoder
from latentmd.encoders.graph import GraphEncoder, GraphMoleculeEncoder, MoleculeData, molecule_data, neighbours
from latentmd.molecule.checks import topology_arrays, torsions
from latentmd.molecule.chemistry import Chemistry
from latentmd.molecule.features import FEATURE_SIZES, molecule_graph
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.testing import check_encoder, check_invariance

from torch_geometric.data import Batch  # isort: skip  (latentmd keeps warnings of its import quiet)


def network() -> EGNNEncoder:
    torch.manual_seed(1)
    return EGNNEncoder(FEATURE_SIZES, dim=5, width=24, depth=3, vectors=4).eval()


def tokens(encoder: GraphEncoder, batch: Any) -> Tensor:
    with torch.no_grad():
        out: Tensor = encoder(batch.pos, batch.batch, batch.x, batch.edge_index, batch.edge_attr, token=batch.token)
    return out


@pytest.fixture(scope="module")
def frames(alanine_runs: list[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(alanine_runs[1][::120]))


def carbons(residues: list[int], bonds: list[tuple[int, int]]) -> Chemistry:
    n = len(residues)
    return Chemistry(
        symbols=n * ("C",), names=n * ("CA",), residues=n * ("GLY",), residue_index=tuple(residues),
        masses=n * (12.011,), bonds=tuple(bonds), labels=n * ("GLY-CA",),
    )  # fmt: skip


def chain(atoms: int) -> MoleculeData:
    """A zigzag of carbons, ten to a residue."""
    record = carbons([i // 10 for i in range(atoms)], [(i, i + 1) for i in range(atoms - 1)])
    i = torch.arange(atoms, dtype=torch.float32)
    return molecule_data(record, torch.stack([0.13 * i, 0.08 * (i % 2), 0.02 * (i % 3)], dim=1))


def quads_of(topology: Any) -> Tensor:
    return torch.from_numpy(rotatable_torsions(*topology_arrays(topology)))


def test_tokens_hold_their_own_torsions(frames: Tensor, alanine_topology: Any) -> None:
    data, quads = molecule_data(alanine_topology, frames[0]), quads_of(alanine_topology)
    encoder = GraphMoleculeEncoder(GraphEncoder(network(), 0.5), data, quads)
    with torch.no_grad():
        full = encoder(frames)
        told = full - encoder.encoder.pool(*_pooled(encoder, frames)).reshape(full.shape)
        angle = torch.from_numpy(torsions(frames.numpy(), quads.numpy()))
        own = (data.token[quads[:, 2]] == 1).nonzero()[:, 0]
        known = torch.stack([angle[:, own].cos(), angle[:, own].sin()], -1).flatten(1).float()
        weights = encoder.torsions[1][: known.shape[1]]
    torch.testing.assert_close(told[:, 1], known @ weights, rtol=1e-3, atol=1e-4)


def test_tokens_are_told_where_molecules_lie(frames: Tensor, alanine_topology: Any) -> None:
    """Two encoders that differ in the distance and angle of the last torsion alone differ by a linear map of these."""
    data = molecule_data(alanine_topology, frames[0])
    quads = torch.tensor([(1, 4, 6, 8), (18, 8, 6, 4)])
    encoder = GraphMoleculeEncoder(GraphEncoder(network(), 0.5), data, quads, placing=1)
    check_invariance(encoder.eval(), frames)
    with torch.no_grad():
        full = encoder(frames)
        told = full - encoder.encoder.pool(*_pooled(encoder, frames)).reshape(full.shape)
        angle = torch.from_numpy(torsions(frames.numpy(), quads.numpy())).float()
        step, base = frames[:, 18] - frames[:, 8], frames[:, 6] - frames[:, 8]
        apart, length = step.norm(dim=1), base.norm(dim=1)
        place = torch.stack([apart.log(), (step * base).sum(1) / (apart * length)], 1)
        both = torch.cat([torch.stack([angle.cos(), angle.sin()], -1).flatten(1), place], 1)
        expected = both @ encoder.torsions[1]
    assert data.token[quads[:, 2]].tolist() == [1, 1]
    torch.testing.assert_close(told[:, 1], expected, rtol=1e-3, atol=1e-4)


def _pooled(encoder: GraphMoleculeEncoder, frames: Tensor) -> tuple[Tensor, Tensor]:
    frame = torch.arange(len(frames)).unsqueeze(1)
    return encoder.atoms(frames).flatten(0, 1), (encoder.token.unsqueeze(0) + encoder.n_tokens * frame).flatten()


def test_with_a_long_cutoff_it_is_the_network_over_all_pairs(frames: Tensor, alanine_topology: Any) -> None:
    graph = molecule_graph(alanine_topology)
    dense = MoleculeEncoder(network(), graph.features, graph.separation, graph.tokens)
    data, quads = molecule_data(alanine_topology, frames[0]), quads_of(alanine_topology)
    found = GraphMoleculeEncoder(GraphEncoder(network(), 1e4), data, quads)
    torch.testing.assert_close(found.atoms(frames), dense.atoms(frames), rtol=0, atol=1e-5)
    torch.nn.init.zeros_(found.torsions)
    torch.testing.assert_close(found(frames), dense(frames), rtol=0, atol=1e-5)


def test_contract_and_symmetry(frames: Tensor, alanine_topology: Any) -> None:
    data, quads = molecule_data(alanine_topology, frames[0]), quads_of(alanine_topology)
    encoder = GraphMoleculeEncoder(GraphEncoder(network(), 0.5), data, quads).eval()
    assert check_encoder(encoder, frames).shape == (len(frames), 3, 5)
    check_invariance(encoder, frames)


def test_silent_hydrogens_are_heard_nearby_and_hear_nothing(frames: Tensor, alanine_topology: Any) -> None:
    data, quads = molecule_data(alanine_topology, frames[0]), quads_of(alanine_topology)
    encoder = GraphMoleculeEncoder(GraphEncoder(network(), 0.5, hydrogens=False), data, quads).eval()
    check_encoder(encoder, frames)
    check_invariance(encoder, frames)
    whole = encoder(frames)
    encoder.most = 2 * 22  # two frames at a time
    torch.testing.assert_close(encoder(frames), whole, rtol=0, atol=1e-6)
    light = torch.tensor([atom.element.symbol == "H" for atom in alanine_topology.atoms])
    one = torch.zeros(22, dtype=torch.long)
    pairs = encoder.encoder.pairs(frames[0], one, data.x, data.edge_index)
    apart = dict(zip(map(tuple, data.edge_index.T.tolist()), data.edge_attr.tolist(), strict=True))
    near = torch.cdist(frames[0], frames[0]) < 0.5
    expected = {
        (j, i) for j in range(22) for i in range(22)
        if not light[i] and (near[i, j] if not light[j] else (j, i) in apart)
    }  # fmt: skip
    assert {tuple(pair) for pair in pairs.T.tolist()} == expected and pairs.shape[1] == len(expected)
    moved = frames[:1].clone()
    moved[:, light] += 0.01
    with torch.no_grad():
        assert (encoder(moved) - encoder(frames[:1])).abs().max() > 1e-4


def test_neighbours_are_those_within_the_cutoff() -> None:
    x = 2 * torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) - 1
    molecule = torch.arange(300) // 100
    pairs = neighbours(x, molecule, 0.4)
    near = (torch.cdist(x, x) < 0.4) & (molecule.unsqueeze(0) == molecule.unsqueeze(1)) & ~torch.eye(300).bool()
    assert {tuple(pair) for pair in pairs.T.tolist()} == {tuple(pair) for pair in near.nonzero().tolist()}
    assert pairs.shape[1] == near.sum()


def test_molecules_of_other_sizes_in_a_batch_change_nothing(frames: Tensor, alanine_topology: Any) -> None:
    encoder = GraphEncoder(network(), 0.5)
    molecules = [molecule_data(alanine_topology, frames[0]), chain(35), molecule_data(alanine_topology, frames[1])]
    together = tokens(encoder, Batch.from_data_list(molecules))
    alone = [tokens(encoder, Batch.from_data_list([molecule])) for molecule in molecules]
    assert [len(z) for z in alone] == [3, 4, 3]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)


def test_atoms_beyond_the_cutoff_do_not_matter_and_messages_end_smoothly() -> None:
    record = carbons([0, 1], [])
    encoder = GraphEncoder(network(), 0.5)

    def at(distance: float) -> Tensor:
        positions = torch.tensor([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]])
        return tokens(encoder, Batch.from_data_list([molecule_data(record, positions)]))

    torch.testing.assert_close(at(0.51), at(5.0), rtol=0, atol=0)
    torch.testing.assert_close(at(0.4999), at(0.5), rtol=0, atol=1e-4)
    assert (at(0.45) - at(0.5)).abs().max() > 1e-4


def test_memory_is_linear_in_the_atoms() -> None:
    """Elements that autograd keeps for the backward pass: four times the atoms, four times the elements."""
    encoder = GraphEncoder(network(), 0.5)
    kept = []
    for atoms in (250, 1000):
        count = 0

        def pack(x: Tensor) -> Tensor:
            nonlocal count
            count += x.numel()
            return x

        batch = Batch.from_data_list([chain(atoms)])
        weights = sum(p.numel() for p in encoder.parameters())
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            encoder(
                batch.pos, batch.batch, batch.x, batch.edge_index, batch.edge_attr, token=batch.token
            ).sum().backward()
        kept.append(count - weights)
    assert 3.5 < kept[1] / kept[0] < 4.3
