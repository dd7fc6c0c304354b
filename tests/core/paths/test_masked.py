"""The masked trajectory model: laws of its interface, and the Gaussian process that it must learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from latentmd.core.paths.masked import MaskedTrajectory, TrajectorySettings
from latentmd.training.windows import random_masks

FRAMES = 12


def _model(tokens: int = 2, seed: int = 0) -> MaskedTrajectory:
    torch.manual_seed(seed)
    model = MaskedTrajectory(
        TrajectorySettings(3, (1.0, 10.0), width=16, depth=2, heads=2, several_tokens=tokens > 1, window=16)
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def _inputs(tokens: int = 2, batch: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (batch, FRAMES, tokens, 3)
    known, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    mask = torch.zeros(shape[:3], dtype=torch.bool)
    mask[:, ::4] = True
    return known, mask, 2.0 * torch.arange(FRAMES).repeat(batch, 1), noise


@pytest.mark.parametrize("tokens", [1, 2])
def test_known_entries_stay_and_unknown_ones_do_not_matter(tokens: int) -> None:
    model, (known, mask, times, noise) = _model(tokens), _inputs(tokens)
    drawn = model.sample(known, mask, times, noise)
    assert torch.equal(drawn[mask], known[mask])
    other = torch.where(mask.unsqueeze(-1), known, torch.full_like(known, 7.0))
    assert torch.equal(model.sample(other, mask, times, noise), drawn)
    assert not torch.equal(model.sample(known, mask, times, noise.flip(0)), drawn)


def test_trajectories_of_a_batch_do_not_see_each_other() -> None:
    model, (known, mask, times, noise) = _model(), _inputs()
    alone = model.sample(known[1:2], mask[1:2], times[1:2], noise[1:2])
    torch.testing.assert_close(model.sample(known, mask, times, noise)[1:2], alone, atol=1e-4, rtol=1e-4)


def test_the_origin_of_time_does_not_matter_but_the_lag_does() -> None:
    model, (known, mask, times, noise) = _model(), _inputs()
    drawn = model.sample(known, mask, times, noise)
    torch.testing.assert_close(model.sample(known, mask, times + 50.0, noise), drawn, atol=1e-3, rtol=1e-3)
    assert (model.sample(known, mask, 2 * times, noise) - drawn).abs().max() > 1e-3


def test_bad_masks_and_times_are_refused() -> None:
    model, (known, mask, times, noise) = _model(), _inputs()
    with pytest.raises(ValueError, match="leave something to draw"):
        model.sample(known, torch.ones_like(mask), times, noise)
    with pytest.raises(ValueError, match="at least one frame"):
        model.sample(known, torch.zeros_like(mask), times, noise)
    with pytest.raises(ValueError, match="unevenly"):
        model.sample(known, mask, times**1.1, noise)
    with pytest.raises(ValueError, match="the range of the model"):
        model.sample(known, mask, 20 * times, noise)
    with pytest.raises(ValueError, match="the window of the model"):
        model.sample(*(x.repeat(1, 2, *[1] * (x.ndim - 2)) for x in (known, mask, times, noise)))


def test_random_masks_leave_something_and_give_something() -> None:
    for tokens in (1, 3):
        masks = random_masks(400, 11, tokens, torch.Generator().manual_seed(0)).flatten(1)
        assert bool(masks.any(dim=1).all()) and not bool(masks.all(dim=1).any())


@pytest.mark.slow
def test_training_learns_the_bridge_of_a_gaussian_process() -> None:
    generator, a = torch.Generator().manual_seed(0), 0.8
    torch.manual_seed(0)
    model = MaskedTrajectory(TrajectorySettings(1, (1.0, 1.0), width=32, depth=2, heads=2, window=8))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    mask = torch.zeros(128, 6, 1, dtype=torch.bool)
    mask[:, 0] = mask[:, 5] = True
    times = torch.arange(6.0).repeat(128, 1)
    for _ in range(1200):
        steps = [torch.randn(128, 1, generator=generator)]
        for _ in range(5):
            steps.append(a * steps[-1] + (1 - a * a) ** 0.5 * torch.randn(128, 1, generator=generator))
        loss = model.loss(torch.stack(steps, dim=1).unsqueeze(-1), mask, times, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    known = torch.zeros(2000, 6, 1, 1)
    known[:, 0], known[:, 5] = 1.0, -0.5
    drawn = model.eval().sample(
        known, mask[:1].repeat(2000, 1, 1), times[:1].repeat(2000, 1), torch.randn(known.shape, generator=generator)
    )
    for t in (1, 3):
        forward, backward = 1 - a ** (2 * t), 1 - a ** (2 * (5 - t))
        variance = 1 / (1 / forward + a ** (2 * (5 - t)) / backward)
        mean = variance * (a**t / forward - 0.5 * a ** (5 - t) / backward)
        assert float(drawn[:, t].mean()) == pytest.approx(mean, abs=0.12)
        assert float(drawn[:, t].var()) == pytest.approx(variance, rel=0.25)
