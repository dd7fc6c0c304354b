"""The density of a chain's torsions is normalised, causal, and what is drawn follows it."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from latentmd.core.steps.angles import EVER, NOW, TorsionStep, torsion_features

TOKENS, SLOTS, AXES = 3, 4, 5


@pytest.fixture
def step() -> TorsionStep:
    torch.manual_seed(0)
    made = TorsionStep((6, 4, 2), AXES, SLOTS, width=16, depths=(1, 1), heads=2, lags=(10.0, 500.0))
    torch.nn.init.normal_(made.density.weight, std=0.3)
    for parameter in made.parameters():
        if parameter.dim() == 2 and not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.1)
    return made.eval()


def _inputs(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    latent = torch.randn(1, TOKENS, AXES).expand(rows, -1, -1)
    types = torch.tensor([[[0, 1, 0], [3, 0, 0], [5, 2, 1]]]).expand(rows, -1, -1)
    mask = torch.ones(1, TOKENS, SLOTS, dtype=torch.bool)
    mask[0, 0, 0] = mask[0, 1, 3] = False
    return latent, types, mask.expand(rows, -1, -1)


@pytest.mark.parametrize("lag", [NOW, 50.0, EVER])
def test_every_torsion_has_a_normalised_density(step: TorsionStep, lag: float) -> None:
    rows = 400
    latent, types, mask = _inputs(rows)
    torch.manual_seed(2)
    angles = (6 * torch.rand(1, TOKENS, SLOTS) - 3).repeat(rows, 1, 1)
    angles[:, 1, 2] = (torch.arange(rows) + 0.5) / rows * 2 * math.pi - math.pi
    with torch.no_grad():
        density = step.log_likelihood(latent, types, mask, torch.full((rows,), lag), angles)[:, 1, 2].exp()
    assert float(density.mean()) * 2 * math.pi == pytest.approx(1.0, abs=1e-4)
    assert float(density.max() / density.min()) > 1.2


def test_a_torsion_depends_on_earlier_ones_only(step: TorsionStep) -> None:
    latent, types, mask = _inputs(2)
    torch.manual_seed(3)
    angles = (6 * torch.rand(1, TOKENS, SLOTS) - 3).repeat(2, 1, 1)
    angles[1, 1, 1] += 1.0
    with torch.no_grad():
        first, second = step.log_likelihood(latent, types, mask, torch.full((2,), 50.0), angles)
    order = torch.arange(TOKENS * SLOTS).reshape(TOKENS, SLOTS)
    assert torch.allclose(first[order < 5], second[order < 5], atol=1e-6)
    later = (order > 5) & mask[0]
    assert (first[later] - second[later]).abs().min() > 1e-5


def test_missing_torsions_do_not_count(step: TorsionStep) -> None:
    latent, types, mask = _inputs(2)
    angles = torch.zeros(2, TOKENS, SLOTS)
    angles[1, 0, 0], angles[1, 1, 3] = 2.0, -1.0
    with torch.no_grad():
        first, second = step.log_likelihood(latent, types, mask, torch.full((2,), 50.0), angles)
    assert torch.allclose(first, second, atol=1e-6)
    assert float(first[~mask[0]].abs().sum()) == 0


def test_at_infinite_lag_the_latent_is_not_looked_at(step: TorsionStep) -> None:
    latent, types, mask = _inputs(2)
    angles = torch.zeros(2, TOKENS, SLOTS)
    moved = latent.clone()
    moved[1] += 1.0
    with torch.no_grad():
        ever = step.log_likelihood(moved, types, mask, torch.full((2,), EVER), angles)
        later = step.log_likelihood(moved, types, mask, torch.full((2,), 50.0), angles)
    assert torch.allclose(ever[0], ever[1], atol=1e-6)
    assert not torch.allclose(later[0], later[1], atol=1e-4)


def test_draws_follow_the_density(step: TorsionStep) -> None:
    rows = 4000
    latent, types, mask = _inputs(rows)
    torch.manual_seed(4)
    with torch.no_grad():
        drawn = step.sample(latent, types, mask, torch.full((rows,), 50.0), torch.rand(rows, TOKENS, SLOTS))
        context, g = step.context(latent[:1], types[:1], torch.full((1,), 50.0))
        nothing = torsion_features(torch.zeros(1, TOKENS, SLOTS), mask[:1])
        own = step.residue(step.known(context, nothing, g), nothing, types[:1])[0, 0, 1]
        probability = torch.softmax(own @ step.waves, dim=-1)
    upper = probability.cumsum(0)

    def distribution(values: Tensor) -> Tensor:
        place = (torch.as_tensor(values) + math.pi) / (2 * math.pi) * len(upper)
        k = place.long().clamp(max=len(upper) - 1)
        return upper[k] - probability[k] * (1 - (place - k))

    assert kstest(drawn[:, 0, 1].numpy(), lambda x: distribution(x).numpy()).pvalue > 1e-3
    with torch.no_grad():
        entropy = -step.log_likelihood(latent, types, mask, torch.full((rows,), 50.0), drawn).sum((1, 2))
        shifted = drawn + 0.7
        wrong = -step.log_likelihood(latent, types, mask, torch.full((rows,), 50.0), shifted).sum((1, 2))
    assert float(entropy.mean()) < float(wrong.mean())


def test_draws_repeat_what_the_likelihood_conditions_on(step: TorsionStep) -> None:
    rows = 64
    latent, types, mask = _inputs(rows)
    lag, uniform = (
        torch.full((rows,), 50.0),
        torch.rand(rows, TOKENS, SLOTS, generator=torch.Generator().manual_seed(7)),
    )
    with torch.no_grad():
        drawn = step.sample(latent, types, mask, lag, uniform)
        context, g = step.context(latent, types, lag)
        features = torsion_features(drawn, mask)
        coefficients = step.residue(step.known(context, features, g), features, types)
        again = torch.stack(
            [step.draw(coefficients[:, t, s], uniform[:, t, s]) for t in range(TOKENS) for s in range(SLOTS)], dim=1
        ).reshape(rows, TOKENS, SLOTS)
    difference = torch.remainder(again - drawn + math.pi, 2 * math.pi) - math.pi
    assert float(difference[mask].abs().max()) < 1e-3
