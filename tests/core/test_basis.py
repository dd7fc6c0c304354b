"""The change of basis of a latent: linear, split into slow and fast axes."""

from __future__ import annotations

import torch

from latentmd.core.basis import LatentBasis
from latentmd.model.file import script


def test_axes_are_centred_turned_and_split() -> None:
    mean, matrix = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    basis = LatentBasis(mean, matrix, 1)
    slow, fast = basis(torch.tensor([[[2.0, 2.0], [4.0, 3.0]]]))
    assert slow.tolist() == [[[1.0]]]
    assert fast.tolist() == [[[0.0, 3.0, -4.0]]]
    assert (basis.n_slow, basis.n_fast) == (1, 3)


def test_the_mean_is_the_origin() -> None:
    mean = torch.randn(6)
    slow, fast = LatentBasis(mean, torch.randn(6, 5), 2)(mean.reshape(1, 3, 2))
    assert not slow.any() and not fast.any()


def test_scripted_is_eager_and_weights_are_buffers() -> None:
    basis = LatentBasis(torch.randn(4), torch.randn(4, 4), 2)
    z = torch.randn(3, 2, 2)
    assert all(torch.equal(a, b) for a, b in zip(script(basis)(z), basis(z), strict=True))
    assert set(basis.state_dict()) == {"mean", "matrix"} and not list(basis.parameters())
