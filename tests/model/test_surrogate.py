"""The surrogate: scripted = eager, its noise decides everything, and its parts fit together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.model.file import script
from latentmd.testing import check_invariance


@pytest.fixture(scope="module")
def positions(alanine_runs: list[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(alanine_runs[0][::100]))


def outputs(surrogate: Any, x: Tensor) -> list[Tensor]:
    """Everything a surrogate answers, with fixed noise."""
    generator = torch.Generator().manual_seed(4)
    batch = len(x)
    lag = torch.full((batch,), 20.0)
    step_noise = torch.randn(batch, surrogate.step_noise, generator=generator)
    decode_noise = torch.randn(batch, surrogate.decode_noise, generator=generator)
    with torch.no_grad():
        slow, fast = surrogate.encode(x)
        step = surrogate.step(slow, lag, step_noise)
        rest = decode_noise[:, surrogate.fast_noise :]
        return [
            slow, fast, step, surrogate.mean_step(slow, lag), surrogate.decode(step, decode_noise),
            surrogate.reconstruct(slow, fast, rest), surrogate.energy(x), *surrogate.latent_energy(slow, fast),
            surrogate(x, lag, torch.cat([step_noise, decode_noise], dim=1)),
        ]  # fmt: skip


def test_scripted_equals_eager(untrained_surrogate: Any, positions: Tensor) -> None:
    scripted = script(untrained_surrogate)
    for _ in range(3):  # the profiling executor optimises from the second call on
        found = outputs(scripted, positions)
    for a, b in zip(found, outputs(untrained_surrogate, positions), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    for name in ("n_atoms", "step_noise", "decode_noise", "fast_noise"):
        assert getattr(scripted, name) == getattr(untrained_surrogate, name)


def test_shapes(untrained_surrogate: Any, positions: Tensor) -> None:
    batch = len(positions)
    slow, fast, step, mean, decoded, rebuilt, energy, latent, variance, whole = outputs(untrained_surrogate, positions)
    assert slow.shape == step.shape == mean.shape == (batch, 1, 5) and fast.shape == (batch, 1, 7)
    assert decoded.shape == rebuilt.shape == whole.shape == (batch, 22, 3)
    assert energy.shape == latent.shape == variance.shape == (batch,) and bool((variance > 0).all())
    assert untrained_surrogate.n_atoms == 22


def test_noise_and_seed_decide_everything(untrained_surrogate: Any, positions: Tensor) -> None:
    torch.manual_seed(1)
    first = outputs(untrained_surrogate, positions)
    torch.manual_seed(2)
    for a, b in zip(first, outputs(untrained_surrogate, positions), strict=True):
        assert torch.equal(a, b)


def test_batch_equals_single(untrained_surrogate: Any, positions: Tensor) -> None:
    whole = outputs(untrained_surrogate, positions)
    with torch.no_grad():
        slow = torch.cat([untrained_surrogate.encode(x[None])[0] for x in positions])
        energy = torch.cat([untrained_surrogate.energy(x[None]) for x in positions])
    torch.testing.assert_close(slow, whole[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(energy, whole[6], rtol=1e-5, atol=1e-3)


def test_forward_is_encode_step_decode(untrained_surrogate: Any, positions: Tensor) -> None:
    *_, decoded, _, _, _, _, whole = outputs(untrained_surrogate, positions)
    assert torch.equal(whole, decoded)


def test_encoding_ignores_orientation_and_tells_mirror_images(untrained_surrogate: Any, positions: Tensor) -> None:
    class Slow(torch.nn.Module):
        def forward(self, obs: Tensor) -> Tensor:
            out: Tensor = untrained_surrogate.encode(obs)[0]
            return out

    check_invariance(Slow(), positions)


def test_forces_of_the_scripted_energy(untrained_surrogate: Any, positions: Tensor) -> None:
    scripted = script(untrained_surrogate)
    gradients = []
    for module in (untrained_surrogate, scripted, scripted, scripted):
        x = positions.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(module.energy(x).sum(), x)
        gradients.append(gradient)
    scale = float(gradients[0].abs().max())
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=0, atol=1e-4 * scale)
