"""The learned potential and its gradient in closed form."""

from __future__ import annotations

import torch

from latentmd.core.steps.potential import Potential


def test_gradient_of_the_potential_is_its_gradient() -> None:
    torch.manual_seed(0)
    potential = Potential(3, 16).double()
    with torch.no_grad():
        potential.last.normal_()
    x = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(potential(x).sum(), x)
    torch.testing.assert_close(potential.gradient(x), expected)


def test_at_first_it_is_harmonic() -> None:
    x = torch.randn(5, 3)
    torch.testing.assert_close(Potential(3, 8)(x), 0.5 * x.square().sum(1))
    torch.testing.assert_close(Potential(3, 8).gradient(x), x)


def test_it_confines() -> None:
    """Along any direction the harmonic part wins: V grows as the square of the distance."""
    torch.manual_seed(0)
    potential = Potential(2, 8)
    torch.nn.init.normal_(potential.last)
    far = 1e3 * torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.6, 0.8]])
    torch.testing.assert_close(potential(far), torch.full((3,), 0.5e6), rtol=0.1, atol=0)
