"""Vector encoders: what they read, and that small differences count as much as large values."""

from __future__ import annotations

import pytest
import torch

from latentmd.encoders.vectors import SequenceEncoder, StandardEncoder, VectorEncoder
from latentmd.testing import check_encoder


def drifting(samples: int) -> torch.Tensor:
    """Histories of two frames [samples, 2, 1]: places of spread 10 that move by steps of spread 0.01."""
    generator = torch.Generator().manual_seed(0)
    place = 10 * torch.randn(samples, 1, generator=generator)
    return torch.stack([place, place + 0.01 * torch.randn(samples, 1, generator=generator)], dim=1)


def test_standard_encoder_gives_newest_frame_and_differences_of_unit_spread() -> None:
    obs = drifting(500)
    z = StandardEncoder(obs)(obs)
    assert z.shape == (500, 1, 2)
    torch.testing.assert_close(z.mean((0, 1)), torch.zeros(2), rtol=0, atol=1e-4)
    torch.testing.assert_close(z.std(0).flatten(), torch.ones(2), rtol=1e-4, atol=0)
    torch.testing.assert_close(torch.corrcoef(torch.stack([z[:, 0, 1], obs[:, 1, 0] - obs[:, 0, 0]]))[0, 1],
                               torch.tensor(1.0), rtol=0, atol=1e-3)  # fmt: skip


def test_a_typical_change_of_velocity_moves_the_tokens_like_one_of_place() -> None:
    obs = drifting(500)
    torch.manual_seed(0)
    encoder = VectorEncoder(obs, 2, 4, 32)
    moved, faster = obs + 10.0, obs.clone()
    faster[:, 0] -= 0.01
    with torch.no_grad():
        z = encoder(obs)
        by_place, by_velocity = ((encoder(o) - z).norm() for o in (moved, faster))
    assert 0.2 < float(by_velocity / by_place) < 5


def test_single_vectors_are_read_as_they_are() -> None:
    obs = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 5.0, 0.1]) + 2
    z = StandardEncoder(obs)(obs)
    torch.testing.assert_close(z[:, 0], (obs - obs.mean(0)) / obs.std(0))


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
