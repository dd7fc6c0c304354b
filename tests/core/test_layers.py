"""Layers that predictors share: what they are at first, and what they see of each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from latentmd.core.layers import AdaptiveBlock, LagEmbedding, TokenTrunk, mlp


def test_mlp_can_start_at_zero() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(mlp([4, 8, 2], last_zero=True)(x), torch.zeros(3, 2))
    assert not torch.equal(mlp([4, 8, 2])(x), torch.zeros(3, 2))


def test_block_at_first_does_not_see_the_condition() -> None:
    block = AdaptiveBlock(8, 3, mix_tokens=False)
    h = torch.randn(2, 5, 8)
    assert torch.equal(block(h, torch.randn(2, 3)), block(h, torch.randn(2, 3)))


@pytest.mark.parametrize("mix", [False, True])
def test_trunk_is_equivariant_to_the_order_of_tokens(perturb: Any, mix: bool) -> None:
    trunk = perturb(TokenTrunk(4, 2, 3, 16, 2, mix_tokens=mix))
    x, condition, order = torch.randn(2, 5, 4), torch.randn(2, 3), [3, 0, 4, 1, 2]
    torch.testing.assert_close(trunk(x[:, order], condition), trunk(x, condition)[:, order])
    changed = x.clone()
    changed[:, 1] += 1.0
    others = torch.allclose(trunk(changed, condition)[:, 0], trunk(x, condition)[:, 0])
    assert others is not mix


def test_trunk_starts_at_zero() -> None:
    assert torch.equal(TokenTrunk(4, 2, 3, 16, 2)(torch.randn(2, 5, 4), torch.randn(2, 3)), torch.zeros(2, 5, 2))


def test_lag_embedding_is_a_function_of_the_ratio() -> None:
    """Ranges of the same ratio have the same features at the same place within them, in the logarithm."""
    torch.manual_seed(0)
    short, long = LagEmbedding(1.0, 100.0, 8), LagEmbedding(10.0, 1000.0, 8)
    long.project.load_state_dict(short.project.state_dict())
    lag = torch.tensor([1.0, 3.0, 100.0])
    torch.testing.assert_close(long(10 * lag), short(lag), rtol=1e-4, atol=1e-5)


def test_lag_embedding_of_a_single_lag_is_finite() -> None:
    assert torch.isfinite(LagEmbedding(5.0, 5.0, 8)(torch.tensor([5.0]))).all()


@pytest.mark.parametrize("lags", [(0.0, 5.0), (5.0, 4.0)])
def test_lag_range_is_checked(lags: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="expected 0 < shortest <= longest"):
        LagEmbedding(*lags, 8)
