"""EGNN encoder: minimum image, cutoff, symmetry in single and double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.encoders.egnn import (
    EGNNEncoder,
    MoleculeEncoder,
    radial_features,
    vector_invariants,
)
from latentmd.molecule.features import FEATURE_SIZES, molecule_graph
from latentmd.molecule.geometry import minimum_image
from latentmd.testing import check_invariance, random_rotation

BOX = torch.tensor([[2.5, 0.0, 0.0], [0.4, 2.4, 0.0], [-0.3, 0.5, 2.3]])  # reduced, triclinic


@pytest.fixture(scope="module")
def graph(alanine_topology: Any) -> Any:
    return molecule_graph(alanine_topology)


@pytest.fixture(scope="module")
def frames(alanine_runs: list[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(alanine_runs[1][::120]))


def encoder(cutoff: float = 0.0) -> EGNNEncoder:
    torch.manual_seed(1)
    return EGNNEncoder(FEATURE_SIZES, dim=5, width=24, depth=3, vectors=4, cutoff=cutoff).eval()


def dense(net: EGNNEncoder, x: Tensor, graph: Any, box: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        out: Tensor = net(x, graph.features, graph.separation, graph.tokens, n_tokens=3, box=box)
    return out


def test_invariance_in_double_precision(frames: Tensor, graph: Any) -> None:
    net = encoder().double()
    bound = MoleculeEncoder(net, graph.features, graph.separation, graph.tokens)
    with torch.no_grad():
        z = bound(frames.double())
        turned = frames.double() @ random_rotation(torch.Generator().manual_seed(3)) + 2.0
        torch.testing.assert_close(bound(turned), z, rtol=0, atol=1e-10)


def test_invariance_and_chirality_with_a_cutoff(frames: Tensor, graph: Any) -> None:
    check_invariance(MoleculeEncoder(encoder(0.5), graph.features, graph.separation, graph.tokens), frames)


def test_a_periodic_image_of_any_atom_leaves_the_tokens_alone(frames: Tensor, graph: Any) -> None:
    net, box = encoder(0.9), BOX.expand(len(frames), 3, 3)
    whole = dense(net, frames, graph, box)
    torch.testing.assert_close(whole, dense(net, frames, graph), rtol=0, atol=1e-5)  # the molecule fits the box
    shifts = torch.randint(-2, 3, (*frames.shape[:2], 3), generator=torch.Generator().manual_seed(2)).float()
    torch.testing.assert_close(dense(net, frames + shifts @ BOX, graph, box), whole, rtol=0, atol=2e-5)


def test_minimum_image_finds_the_nearest_of_all_images() -> None:
    displacement = 0.55 * torch.randn(200, 1, 3, generator=torch.Generator().manual_seed(0))
    cells = torch.cartesian_prod(*3 * [torch.arange(-3.0, 4.0)]) @ BOX
    nearest = (displacement + cells).norm(dim=-1).amin(dim=1)
    near = nearest < 1.1  # half the shortest width of this box
    found = minimum_image(displacement, BOX.expand(200, 3, 3)).squeeze(1).norm(dim=-1)
    assert near.sum() > 100
    torch.testing.assert_close(found[near], nearest[near])


def test_atoms_beyond_the_cutoff_do_not_matter_and_messages_end_smoothly() -> None:
    net = encoder(0.5)
    features = torch.ones(2, 4, dtype=torch.long)
    separation = 4 * (1 - torch.eye(2, dtype=torch.long))
    tokens = torch.arange(2)

    def at(distance: float) -> Tensor:
        with torch.no_grad():
            x = torch.tensor([[[0.0, 0.0, 0.0], [distance, 0.0, 0.0]]])
            out: Tensor = net(x, features, separation, tokens, 2)
        return out

    torch.testing.assert_close(at(0.51), at(5.0), rtol=0, atol=0)
    torch.testing.assert_close(at(0.4999), at(0.5), rtol=0, atol=1e-4)
    assert (at(0.45) - at(0.5)).abs().max() > 1e-4


def test_vector_invariants_are_dot_products_and_signed_volumes() -> None:
    vectors = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = vector_invariants(vectors)
    rows, columns = torch.triu_indices(4, 4)
    torch.testing.assert_close(found[:10], (vectors[rows] * vectors[columns]).sum(-1))
    volumes = [torch.det(torch.stack([vectors[a], vectors[a - 1], vectors[a - 2]])) for a in range(4)]
    torch.testing.assert_close(found[10:], torch.stack(volumes))
    mirrored = vector_invariants(vectors * torch.tensor([1.0, -1.0, 1.0]))
    torch.testing.assert_close(mirrored, torch.cat([found[:10], -found[10:]]))


def test_radial_features_peak_at_their_centres() -> None:
    centres = torch.exp(torch.linspace(-2.408, 0.405, 20))
    features = radial_features(centres)
    torch.testing.assert_close(features.diagonal(), torch.ones(20), rtol=0, atol=1e-5)
    assert centres[0] == pytest.approx(0.09, abs=1e-3) and centres[-1] == pytest.approx(1.5, abs=1e-2)


def test_an_atom_known_by_chemistry_alone(frames: Tensor, graph: Any) -> None:
    """Renumbering the atoms, with their features, bonds and tokens, leaves the latent alone."""
    net, order = encoder(), torch.randperm(22, generator=torch.Generator().manual_seed(0))
    moved = graph._replace(
        features=graph.features[order], separation=graph.separation[order][:, order], tokens=graph.tokens[order]
    )
    torch.testing.assert_close(dense(net, frames[:, order], moved), dense(net, frames, graph), rtol=0, atol=1e-5)
