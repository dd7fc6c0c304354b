"""Geometry of batches of frames: laws of superposition, angles, volumes and periodic images."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from latentmd.molecule.geometry import kabsch, superposed, wrap
from latentmd.testing import random_rotation


def _structure(seed: int = 0) -> Tensor:
    return torch.randn(1, 7, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_superposition_undoes_a_motion_but_not_a_reflection() -> None:
    x = _structure()
    moved = x @ random_rotation(torch.Generator().manual_seed(1)).double() + 3.0
    torch.testing.assert_close(kabsch(moved, x), x)
    mirrored = x * torch.tensor([-1.0, 1.0, 1.0])
    assert float((kabsch(mirrored, x) - x).abs().max()) > 0.1


def test_superposition_is_the_best_of_many() -> None:
    x, y, weights = _structure(0), _structure(1), torch.linspace(0.1, 1.0, 7)

    def deviation(z: Tensor) -> float:
        centred = z - (weights[:, None] * z).sum(1, keepdim=True) / weights.sum()
        target = y - (weights[:, None] * y).sum(1, keepdim=True) / weights.sum()
        return float((weights[:, None] * (centred - target) ** 2).sum())

    best, generator = deviation(kabsch(x, y, weights)), torch.Generator().manual_seed(2)
    assert all(deviation(x @ random_rotation(generator).double()) >= best for _ in range(200))


def test_atoms_of_no_weight_follow() -> None:
    x = _structure()
    moved = x @ random_rotation(torch.Generator().manual_seed(1)).double()
    other = x.clone()
    other[:, 6] += 5.0
    weights = torch.tensor([1.0] * 6 + [0.0])
    torch.testing.assert_close(kabsch(moved, other, weights), x)


def test_angles_are_wrapped_to_half_a_turn() -> None:
    angles = torch.tensor([0.0, 3.0, 3.5, -3.5, 100.0], dtype=torch.float64)
    wrapped = wrap(angles)
    assert float(wrapped.abs().max()) <= math.pi
    torch.testing.assert_close(wrapped.sin(), angles.sin())
    torch.testing.assert_close(wrapped.cos(), angles.cos())


def test_arrays_of_numpy_are_superposed_alike() -> None:
    rng = np.random.default_rng(0)
    mobile, reference, weights = rng.normal(size=(4, 6, 3)), rng.normal(size=(1, 6, 3)), rng.random(6)
    found = superposed(mobile, reference, weights)
    expected = kabsch(torch.from_numpy(mobile), torch.from_numpy(reference), torch.from_numpy(weights))
    np.testing.assert_array_equal(found, expected.numpy())
    np.testing.assert_allclose(superposed(reference @ [[0, 1, 0], [-1, 0, 0], [0, 0, 1]] + 2.0, reference), reference)
