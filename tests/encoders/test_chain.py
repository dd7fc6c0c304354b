"""The encoder of peptides: features of torsions, and tokens that see the whole chain."""

from __future__ import annotations

import math
from typing import Any

import torch

from latentmd.core.steps.angles import torsion_features
from latentmd.encoders.chain import ChainEncoder


def test_features_are_periodic_signed_and_masked() -> None:
    angles, mask = torch.tensor([[0.3, -2.0]]), torch.tensor([[True, False]])
    features = torsion_features(angles, mask, 2).reshape(1, 2, 5)
    order = torch.arange(1.0, 3)
    expected = torch.cat([(0.3 * order).cos(), (0.3 * order).sin(), torch.ones(1)])
    torch.testing.assert_close(features[0, 0], expected)
    assert not features[0, 1].any()
    torch.testing.assert_close(torsion_features(angles + 2 * math.pi, mask), torsion_features(angles, mask))
    assert not torch.allclose(torsion_features(-angles, mask), torsion_features(angles, mask))


def test_a_token_sees_the_types_of_the_others(perturb: Any) -> None:
    encoder = perturb(ChainEncoder((4, 3), slots=2, dim=5, width=8, depth=1, heads=2))
    angles, mask = torch.randn(3, 4, 2), torch.ones(1, 4, 2, dtype=torch.bool)
    types = torch.zeros(1, 4, 2, dtype=torch.long)
    z = encoder(angles, types, mask)
    assert z.shape == (3, 4, 5)
    types[0, 3, 0] = 1
    assert not torch.allclose(encoder(angles, types, mask)[:, 0], z[:, 0], atol=1e-6)


def test_frames_do_not_see_each_other() -> None:
    encoder = ChainEncoder((4, 3), slots=2, dim=5, width=8, depth=1, heads=2)
    angles, mask = torch.randn(3, 4, 2), torch.ones(1, 4, 2, dtype=torch.bool)
    types = torch.zeros(1, 4, 2, dtype=torch.long)
    torch.testing.assert_close(encoder(angles[1:2], types, mask), encoder(angles, types, mask)[1:2])
