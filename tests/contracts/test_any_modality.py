"""The core asks nothing about what is observed: every encoder trains with every predictor through the same JEPA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import latentmd.encoders.vectors as vectors
from latentmd.core.jepa import JEPA, Scheme
from latentmd.core.objectives import VarianceCovariance
from latentmd.core.steps import (
    EGNNPredictor,
    GeneralHamiltonianPredictor,
    HamiltonianPredictor,
    LangevinPredictor,
    MLPPredictor,
    ResidualPredictor,
)
from latentmd.decoders.state import PictureDecoder, StateDecoder, TokenDecoder
from latentmd.encoders.frames import ConvolutionalEncoder, FrameEncoder
from latentmd.encoders.particles import ParticleEncoder
from latentmd.encoders.vectors import SequenceEncoder
from latentmd.testing import check_encoder, check_predictor

LAGS = (1.0, 2.0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


#: Name → observations of eight systems, and an encoder of them to tokens of four axes.
ENCODERS: dict[str, tuple[Tensor, Callable[[Tensor], nn.Module]]] = {
    "vector": (normal(8, 5), lambda o: vectors.VectorEncoder(o, 2, 4, 16)),
    "vector history": (normal(8, 3, 5), lambda o: vectors.VectorEncoder(o, 1, 4, 16)),
    "standard": (normal(8, 4), vectors.StandardEncoder),
    "sequence": (normal(8, 6, 2), lambda o: SequenceEncoder(o, 2, 4, 16)),
    "convolutions": (normal(8, 2, 16, 16).clamp(0, 1), lambda o: ConvolutionalEncoder(2, 1, 4, 16, 16)),
    "frames": (normal(8, 2, 16, 16).clamp(0, 1), lambda o: FrameEncoder(o, 1, 4, 16, 8)),
    "particles": (normal(8, 3, 4), lambda o: ParticleEncoder(o, 3.0, 1.5, 4, width=8, depth=1)),
}
PREDICTORS: dict[str, Callable[[int], nn.Module]] = {
    "residual": lambda tokens: ResidualPredictor(4, LAGS, 8, tokens=tokens),
    "mlp": lambda tokens: MLPPredictor(4, LAGS, 8, 1, tokens),
    "egnn": lambda tokens: EGNNPredictor(4, LAGS, 8, 1),
    "hamiltonian": lambda tokens: HamiltonianPredictor(4, LAGS, 8, tokens),
    "hamiltonian-general": lambda tokens: GeneralHamiltonianPredictor(4, LAGS, 8, tokens, iterations=3),
}


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return build().eval()


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder_keeps_the_contract(name: str) -> None:
    observation, build = ENCODERS[name]
    assert check_encoder(seeded(lambda: build(observation)), observation).shape[2] == 4


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_one_core_for_all(encoder: str, predictor: str) -> None:
    """Losses are finite, and a gradient reaches the predictor and, where it has weights, the encoder."""
    observation, build = ENCODERS[encoder]
    seen = seeded(lambda: build(observation))
    tokens, dim = seen(observation).shape[1:]
    objective = VarianceCovariance()
    moving = seeded(lambda: PREDICTORS[predictor](tokens))
    jepa = JEPA(seen, moving, objective, dim=dim, scheme=Scheme(regularise="sequence", mask=0.2))
    later = [observation + 0.1 * (k + 1) * normal(*observation.shape).flip(0) for k in range(2)]
    losses = jepa([observation, *later], torch.full((8,), 2.0), torch.Generator().manual_seed(1))
    assert torch.isfinite(torch.stack(list(losses))).all()
    losses.total.backward()
    parts: tuple[nn.Module, ...] = (moving,) if encoder == "standard" else (moving, seen)
    for part in parts:
        assert sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None) > 0


@pytest.mark.parametrize("encoder", ENCODERS)
def test_latents_of_any_encoder_fit_the_stochastic_predictor(encoder: str) -> None:
    observation, build = ENCODERS[encoder]
    with torch.no_grad():
        z = seeded(lambda: build(observation))(observation)
    langevin = LangevinPredictor(4, LAGS, 8, tokens=z.shape[1])
    check_predictor(langevin, z, torch.full((8,), 2.0))
    assert langevin.log_likelihood(z, torch.full((8,), 2.0), z).shape == (8,)


@pytest.mark.parametrize(
    ("decoder", "shape"),
    [
        (StateDecoder(2, 4, torch.zeros(3, 2), torch.ones(3, 2), 8), (3, 2)),
        (TokenDecoder(4, torch.zeros(5), torch.ones(5)), (2, 5)),
        (PictureDecoder(2, 4, torch.zeros(16, 16), 8), (16, 16)),
    ],
)
def test_verification_decoders_are_functions_of_the_tokens(decoder: Any, shape: tuple[int, ...]) -> None:
    from latentmd.model.file import script

    z, nothing = normal(5, 2, 4), torch.zeros(5, 0)
    with torch.no_grad():
        out = decoder(z, nothing)
        assert out.shape == (5, *shape)
        torch.testing.assert_close(script(decoder)(z, nothing), out)
        torch.testing.assert_close(torch.cat([decoder(z[i : i + 1], nothing[:1]) for i in range(5)]), out)
