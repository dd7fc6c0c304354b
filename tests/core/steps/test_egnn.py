"""The message-passing predictor: equivariant in its coordinates, and able to single out another token."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from latentmd.core.steps import EGNNPredictor
from latentmd.testing import random_rotation

LAGS = (1.0, 4.0)
NOTHING = torch.zeros(5, 0)


def test_coordinates_turn_and_shift_with_the_tokens(perturb: Any) -> None:
    predictor = perturb(EGNNPredictor(7, LAGS, 16, coordinates=3))
    z, lag = torch.randn(5, 4, 7), torch.full((5,), 2.0)
    generator = torch.Generator().manual_seed(0)
    turn, shift = random_rotation(generator).float(), torch.randn(3, generator=generator)
    moved = torch.cat([z[..., :3] @ turn + shift, z[..., 3:]], dim=-1)
    out = predictor.step(z, lag, NOTHING)
    expected = torch.cat([out[..., :3] @ turn + shift, out[..., 3:]], dim=-1)
    torch.testing.assert_close(predictor.step(moved, lag, NOTHING), expected, rtol=0, atol=1e-5)
    assert (out[..., :3] - z[..., :3]).abs().max() > 1e-3


def test_only_distances_of_coordinates_reach_the_features(perturb: Any) -> None:
    predictor = perturb(EGNNPredictor(5, LAGS, 16, coordinates=2))
    z, lag = torch.randn(5, 3, 5), torch.full((5,), 2.0)
    far = z.clone()
    far[:, 0, :2] += 1.0
    change = predictor.step(far, lag, NOTHING)[..., 2:] - predictor.step(z, lag, NOTHING)[..., 2:]
    assert change.abs().amax(dim=(1, 2)).min() > 1e-5


def test_learns_which_token_is_near() -> None:
    """The feature of a token becomes that of the nearest other one, which no mean over tokens could tell."""
    torch.manual_seed(0)
    predictor = EGNNPredictor(3, LAGS, 32, coordinates=2)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(predictor.parameters(), 4e-3)

    def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        z = torch.randn(size, 4, 3, generator=generator)
        distances = torch.cdist(z[..., :2], z[..., :2]) + 1e3 * torch.eye(4)
        return z, z[..., 2].gather(1, distances.argmin(-1))

    for _ in range(300):
        z, wanted = batch(256)
        found = predictor.step(z, torch.ones(256), torch.zeros(256, 0))[..., 2]
        loss = (found - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    z, wanted = batch(2000)
    with torch.no_grad():
        error = (predictor.step(z, torch.ones(2000), torch.zeros(2000, 0))[..., 2] - wanted).square().mean()
    assert float(error) < 0.4 * float(wanted.var())


def test_no_room_for_features_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one feature axis"):
        EGNNPredictor(3, LAGS, coordinates=3)
