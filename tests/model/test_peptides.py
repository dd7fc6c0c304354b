"""The trained parts of a surrogate for many peptides: shapes, and what each depends on."""

from __future__ import annotations

import pytest
import torch

from latentmd.model.peptides import SIZES, PeptideConfig, PeptideModel, TokenPredictor
from latentmd.molecule.chain import SLOTS
from latentmd.testing import check_predictor

SMALL = PeptideConfig(8, 6, 16, 1, width=24, depth=1, causal_depth=1, heads=2)


@pytest.fixture(scope="module")
def model() -> PeptideModel:
    torch.manual_seed(0)
    return PeptideModel(SMALL).eval()


def _types(batch: int, tokens: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.stack([torch.randint(size, (batch, tokens), generator=generator) for size in SIZES], -1)


@pytest.mark.parametrize("tokens", [1, 3, 8])
def test_chains_of_any_length_have_slow_axes_of_every_token(model: PeptideModel, tokens: int) -> None:
    angles, mask = torch.zeros(2, tokens, len(SLOTS)), torch.ones(2, tokens, len(SLOTS), dtype=torch.bool)
    slow = model.encode(angles, _types(2, tokens), mask)
    assert slow.shape == (2, tokens, SMALL.n_slow)
    turned = model.encode(angles + 2 * torch.pi, _types(2, tokens), mask)
    assert torch.allclose(slow, turned, atol=1e-5)


def test_angles_that_do_not_exist_change_nothing(model: PeptideModel) -> None:
    mask = torch.ones(1, 2, len(SLOTS), dtype=torch.bool)
    mask[0, 1, 3:] = False
    one = torch.zeros(1, 2, len(SLOTS))
    other = one.clone()
    other[0, 1, 3:] = 1.0
    types = _types(1, 2)
    assert torch.equal(model.encode(one, types, mask), model.encode(other, types, mask))


def test_the_mean_is_predicted_without_noise() -> None:
    torch.manual_seed(0)
    predictor = TokenPredictor(8, 16, 1, (10.0, 500.0)).eval()
    out = check_predictor(predictor, torch.randn(3, 4, 8), torch.full((3,), 50.0))
    assert out.shape == (3, 4, 8) and predictor.noise_size == 0
