"""JEPA: loss terms, stop-gradient, the moving target, masking, and recovery of a known process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentmd.core.jepa import JEPA, Guide, Scheme, momentum_schedule
from latentmd.core.objectives import Regularisation, SIGReg, VarianceCovariance, spectral_loss
from latentmd.core.steps import ResidualPredictor


class Features(nn.Module):
    """Linear encoder of vectors [batch, 3] to tokens [batch, 2, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(3, 4)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, obs: Tensor) -> Tensor:
        out: Tensor = self.read(obs).unflatten(1, (2, 2))
        return out


class Shift(nn.Module):
    """ẑ = z + 1 per step."""

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        return z + 1


class Nothing(nn.Module):
    def forward(self, z: Tensor) -> Regularisation:
        zero = z.sum() * 0
        return Regularisation(zero, zero, zero)


def jepa(**options: Any) -> JEPA:
    torch.manual_seed(0)
    predictor, objective = options.pop("predictor", Shift()), options.pop("objective", Nothing())
    scheme = Scheme(
        **{name: options.pop(name) for name in ("ema", "matching", "mask", "regularise") if name in options}
    )
    guides = {name: Guide(module, 0.5) for name, module in options.items()}
    return JEPA(Features(), predictor, objective, dim=2, scheme=scheme, **guides)


def batch(steps: int = 2) -> tuple[list[Tensor], Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(16, 3, generator=generator) for _ in range(steps + 1)], torch.ones(16), generator


def test_prediction_is_unrolled_and_compared_with_every_target() -> None:
    model = jepa()
    observations, lag, generator = batch()
    with torch.no_grad():
        losses = model(observations, lag, generator)
        z = [model.encoder(o) for o in observations]
    expected = torch.stack([(z[0] + 1 - z[1]).square().mean(), (z[0] + 2 - z[2]).square().mean()]).mean()
    persistence = torch.stack([(z[0] - z[1]).square().mean(), (z[0] - z[2]).square().mean()]).mean()
    assert float(losses.prediction) == pytest.approx(float(expected), rel=1e-6)
    assert float(losses.total) == pytest.approx(float(expected), rel=1e-6)
    assert float(losses.gain) == pytest.approx(1 - float(expected / persistence), rel=1e-5)


def test_cosine_matching_ignores_the_length_of_tokens() -> None:
    class Stretch(nn.Module):
        def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
            return 7 * z

    observations, lag, generator = batch(1)
    same = [observations[0], observations[0]]
    assert float(jepa(predictor=Stretch(), matching="cosine")(same, lag, generator).prediction) < 1e-6
    assert float(jepa(predictor=Stretch(), matching="mse")(same, lag, generator).prediction) > 0.1
    model = jepa(matching="cosine")
    with torch.no_grad():
        z0, z1 = model.encoder(observations[0]), model.encoder(observations[1])
        expected = 1 - nn.functional.cosine_similarity(z0 + 1, z1, dim=-1).mean()
    assert float(model(observations, lag, generator).prediction) == pytest.approx(float(expected), rel=1e-5)


def test_no_gradient_reaches_the_target() -> None:
    model = jepa(objective=VarianceCovariance())
    observations, lag, generator = batch()
    model(observations, lag, generator).total.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.target.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())


def test_gradient_comes_from_the_context_alone() -> None:
    """With sg(z̄) the gradient is that of the loss in which targets are constants."""
    model = jepa()
    observations, lag, generator = batch(1)
    model(observations, lag, generator).total.backward()
    target = model.encoder(observations[1]).detach()
    by_hand = torch.autograd.grad(
        (model.encoder(observations[0]) + 1 - target).square().mean(), list(model.encoder.parameters())
    )
    for parameter, expected in zip(model.encoder.parameters(), by_hand, strict=True):
        torch.testing.assert_close(parameter.grad, expected)


def test_without_a_target_network_gradients_flow_through_both_sides() -> None:
    model = jepa(ema=None, objective=SIGReg())
    assert model.target is model.encoder
    observations, lag, generator = batch(1)
    losses = model(observations, lag, generator)
    (through_both,) = torch.autograd.grad(losses.total, model.encoder.read.weight, retain_graph=True)  # type: ignore[attr-defined,arg-type]
    assert through_both.abs().sum() > 0
    model.update_target(0.5)  # nothing to move
    assert model.target is model.encoder


def test_target_moves_by_exponential_average_and_copies_buffers() -> None:
    model = jepa()
    old = [p.clone() for p in model.target.parameters()]
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.add_(1.0)
        model.encoder.seen.fill_(5.0)  # type: ignore[union-attr,operator]
    model.update_target(0.9)
    for before, after in zip(old, model.target.parameters(), strict=True):
        torch.testing.assert_close(after, before + 0.1)
    assert float(model.target.seen) == 5.0  # type: ignore[arg-type]


def test_momentum_rises_along_a_cosine_to_one() -> None:
    assert momentum_schedule(0, 100, 0.99) == pytest.approx(0.99)
    assert momentum_schedule(50, 100, 0.99) == pytest.approx(0.995)
    assert momentum_schedule(100, 100, 0.99) == 1.0
    assert momentum_schedule(150, 100, 0.99) == 1.0
    values = [momentum_schedule(k, 100, 0.9) for k in range(101)]
    assert values == sorted(values)


def test_masked_tokens_are_replaced_by_a_learned_one() -> None:
    model = jepa(mask=0.5)
    with torch.no_grad():
        model.hidden.fill_(3.0)
    z = torch.randn(400, 2, 2)
    hidden = (model._hide(z, torch.Generator().manual_seed(0)) == 3.0).all(-1)
    assert 0.45 < float(hidden.float().mean()) < 0.55
    observations, lag, _ = batch(1)
    one, two = (model(observations, lag, torch.Generator().manual_seed(4)).total for _ in range(2))
    assert torch.equal(one, two)
    model(observations, lag, torch.Generator().manual_seed(4)).total.backward()
    assert model.hidden.grad is not None and model.hidden.grad.abs().sum() > 0


@pytest.mark.parametrize(("regularise", "calls"), [("context", 1), ("sequence", 3)])
def test_objective_sees_what_it_is_told_to(regularise: Any, calls: int) -> None:
    seen: list[Tensor] = []

    class Recorder(nn.Module):
        def forward(self, z: Tensor) -> Regularisation:
            seen.append(z)
            return Nothing()(z)

    model = jepa(objective=Recorder(), regularise=regularise)
    observations, lag, generator = batch()
    model(observations, lag, generator)
    assert len(seen) == calls and all(z.shape == (16, 4) and z.requires_grad for z in seen)


def test_ground_is_added_with_its_weight() -> None:
    class Ground(nn.Module):
        def loss(self, axes: Tensor, observation: Tensor) -> Tensor:
            assert axes.shape == (16, 4) and observation.shape == (16, 3)
            return axes.square().mean()

    observations, lag, generator = batch(1)
    model = jepa(ground=Ground())
    with torch.no_grad():
        losses = model(observations, lag, generator)
        square = model.encoder(observations[0]).square().mean()
    assert float(losses.total) == pytest.approx(float(losses.prediction) + 0.5 * float(losses.ground), rel=1e-6)
    assert float(losses.ground) == pytest.approx(float(square), rel=1e-6)


def test_drift_of_a_conserved_quantity_is_added_with_its_weight() -> None:
    """E = sum of a token's axes grows by 4 a step here: the term is (4² + 8²) / 2 over the variance of E."""
    observations, lag, generator = batch()
    plain = jepa()(observations, lag, generator)
    model = jepa(conserved=lambda z: z.sum((1, 2)))
    with torch.no_grad():
        losses = model(observations, lag, generator)
        expected = 40 / model.encoder(observations[0]).sum((1, 2)).var()
    assert plain.conservation == 0
    torch.testing.assert_close(losses.conservation, expected)
    torch.testing.assert_close(losses.total, plain.total.detach() + 0.5 * expected)


def test_spectral_term_joins_the_first_and_the_last_frame() -> None:
    observations, lag, generator = batch()
    plain = jepa()(observations, lag, generator)
    model = jepa(spectral=nn.Linear(4, 2))
    losses = model(observations, lag, generator)
    first, last = model.encoder(observations[0]).flatten(1), model.target(observations[-1]).flatten(1)
    expected = spectral_loss(model.spectral(first), model.spectral(last))
    assert plain.spectral == 0
    torch.testing.assert_close(losses.spectral, expected.detach())
    torch.testing.assert_close(losses.total, plain.total + 0.5 * expected)
    losses.total.backward()
    assert model.spectral.weight.grad is not None and bool(model.spectral.weight.grad.abs().sum() > 0)


def test_training_finds_the_predictable_direction_and_its_decay() -> None:
    """x0 decays as exp(−t/10), x1 and x2 are noise. The latent must carry x0 and the predictor its factor e^(−1/2)."""
    torch.manual_seed(0)

    class OneAxis(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read = nn.Linear(3, 1, bias=False)

        def forward(self, obs: Tensor) -> Tensor:
            out: Tensor = self.read(obs).unsqueeze(1)
            return out

    model = JEPA(OneAxis(), ResidualPredictor(1, (1.0, 10.0), 16), VarianceCovariance(5.0), dim=1, scheme=Scheme(0.9))
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-2)
    a = float(torch.exp(torch.tensor(-0.5)))
    for step in range(300):
        x = torch.randn(256, 3, generator=generator)
        y = torch.randn(256, 3, generator=generator)
        y[:, 0] = a * x[:, 0] + (1 - a**2) ** 0.5 * y[:, 0]
        losses = model([x, y], torch.full((256,), 5.0), generator)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        model.update_target(momentum_schedule(step, 300, 0.9))
    weight = model.encoder.read.weight[0]  # type: ignore[union-attr,index]
    assert float(weight[0].detach().abs() / weight.detach().norm()) > 0.98
    z = torch.linspace(-1, 1, 5).reshape(5, 1, 1)
    slope = model.predictor.step(z, torch.full((5,), 5.0), torch.zeros(5, 0)).detach().flatten()  # type: ignore[operator]
    assert float((slope[-1] - slope[0]) / 2) == pytest.approx(a, abs=0.1)
    assert float(losses.gain) == pytest.approx(1 - (1 - a**2) / (2 * (1 - a)), abs=0.08)
