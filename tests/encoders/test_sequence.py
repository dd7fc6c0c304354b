"""Recurrent encoder: contract, order of time, scale of the features."""

from __future__ import annotations

import pytest
import torch

from latentmd.encoders.sequence import SequenceEncoder
from latentmd.testing import check_encoder


@pytest.fixture
def histories() -> torch.Tensor:
    return torch.randn(6, 8, 3, generator=torch.Generator().manual_seed(0)).cumsum(1)


def test_contract(histories: torch.Tensor) -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(histories, tokens=2, dim=5, width=16, depth=2)
    assert check_encoder(encoder, histories).shape == (6, 2, 5)


def test_any_length_and_every_time_matters(histories: torch.Tensor) -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(histories, dim=5, width=16)
    assert encoder(histories[:, :4]).shape == (6, 1, 5)
    z = encoder(histories)
    for time in range(8):
        changed = histories.clone()
        changed[:, time] += 1.0
        assert (encoder(changed) - z).abs().max() > 1e-5
    assert (encoder(histories.flip(1)) - z).abs().max() > 1e-3


def test_units_do_not_matter(histories: torch.Tensor) -> None:
    """Features in other units and with another origin give the same tokens."""
    torch.manual_seed(0)
    scaled = histories * torch.tensor([1e3, 1.0, 1e-3]) + torch.tensor([5.0, -2.0, 0.0])
    first = SequenceEncoder(histories, dim=5)
    second = SequenceEncoder(scaled, dim=5)
    second.load_state_dict({k: v for k, v in first.state_dict().items() if k not in ("mean", "scale")}, strict=False)
    torch.testing.assert_close(second(scaled)[:, :], first(histories), rtol=0, atol=1e-3)


def test_a_single_vector_is_no_history() -> None:
    with pytest.raises(ValueError, match=r"shape \(6, 3\); expected \[batch, time, features\]"):
        SequenceEncoder(torch.zeros(6, 3))
