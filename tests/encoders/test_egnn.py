"""EGNN encoder: symmetry in double precision, invariants, atoms known by chemistry alone."""

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
from latentmd.testing import random_rotation


@pytest.fixture(scope="module")
def graph(alanine_topology: Any) -> Any:
    return molecule_graph(alanine_topology)


@pytest.fixture(scope="module")
def frames(alanine_runs: list[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(alanine_runs[1][::120]))


def encoder() -> EGNNEncoder:
    torch.manual_seed(1)
    return EGNNEncoder(FEATURE_SIZES, dim=5, width=24, depth=3, vectors=4).eval()


def dense(net: EGNNEncoder, x: Tensor, graph: Any) -> Tensor:
    with torch.no_grad():
        out: Tensor = MoleculeEncoder(net, graph.features, graph.separation, graph.tokens)(x)
    return out


def test_invariance_in_double_precision(frames: Tensor, graph: Any) -> None:
    net = encoder().double()
    bound = MoleculeEncoder(net, graph.features, graph.separation, graph.tokens)
    with torch.no_grad():
        z = bound(frames.double())
        turned = frames.double() @ random_rotation(torch.Generator().manual_seed(3)) + 2.0
        torch.testing.assert_close(bound(turned), z, rtol=0, atol=1e-10)


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
