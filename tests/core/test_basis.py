"""The change of basis of a latent: linear, split into slow and fast axes."""

from __future__ import annotations

import torch

from latentmd.core.basis import LatentBasis, TypeCovariances
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


def _pairs(molecules: int, rows: int, decays: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs [molecules, rows, 1, 2] of two independent unit Gaussians with given autocorrelations, mixed by a turn."""
    generator = torch.Generator().manual_seed(0)
    x, xi = torch.randn(2, molecules, rows, 1, 2, generator=generator)
    y = decays * x + torch.sqrt(1 - decays**2) * xi
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]]) * torch.tensor([3.0, 1.0])
    shift = 10 * torch.randn(molecules, 1, 1, 2, generator=generator)
    return x @ turn + shift, y @ turn + shift


def _fitted(rows: int) -> tuple[TypeCovariances, torch.Tensor, torch.Tensor]:
    decays = torch.tensor([0.9, 0.3])
    now, later = _pairs(2, rows, decays)
    sums = TypeCovariances(2, 2, torch.device("cpu"))
    sums.add(now, later, torch.zeros(2, 1, dtype=torch.long))
    return sums, now, decays


def test_autocorrelations_are_found_and_axes_are_white() -> None:
    """40 000 pairs: standard errors below 0.005; the means of the molecules, which differ, do not count."""
    sums, now, decays = _fitted(20_000)
    basis, correlations = sums.fit(1)
    torch.testing.assert_close(correlations[0], decays, rtol=0, atol=0.02)
    types = torch.zeros(1, 1, 1, dtype=torch.long)
    slow, fast = basis(now[0], types.expand(len(now[0]), 1, 1))
    assert slow.shape == fast.shape == (20_000, 1, 1)
    axes = torch.cat([slow, fast], dim=-1)[:, 0]
    torch.testing.assert_close(torch.cov(axes.T), torch.eye(2), rtol=0, atol=0.03)


def test_a_rare_type_takes_the_basis_of_all() -> None:
    sums, _, _ = _fitted(20_000)
    now, later = _pairs(1, 100, torch.tensor([0.1, 0.5]))
    sums.add(now, later, torch.ones(1, 1, dtype=torch.long))
    basis, correlations = sums.fit(1)
    pooled = sums.instant.sum(0) / sums.count.sum()
    assert not torch.allclose(basis.matrix[1], basis.matrix[0])
    variance = basis.matrix[1].T.double() @ pooled @ basis.matrix[1].double()
    torch.testing.assert_close(variance, torch.eye(2).double(), rtol=0, atol=1e-2)
    assert torch.isfinite(correlations).all()
