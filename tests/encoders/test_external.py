"""Frozen external encoders: contract, frozen for good; V-JEPA 2 with a small random model of the same class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentmd.encoders.external import ExternalEncoder, VideoFeatures, vjepa2_encoder
from latentmd.testing import check_encoder


class Tokens(nn.Module):
    """Features of each of three parts of a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(4, 5)
        self.drop = nn.Dropout(0.5)

    def forward(self, obs: Tensor) -> Tensor:
        return self.drop(self.read(obs.reshape(obs.shape[0], 3, 4)))


def test_contract() -> None:
    torch.manual_seed(0)
    assert check_encoder(ExternalEncoder(Tokens()), torch.randn(4, 12)).shape == (4, 3, 5)
    assert check_encoder(ExternalEncoder(nn.Linear(12, 7)), torch.randn(4, 12)).shape == (4, 1, 7)


def test_it_stays_frozen_and_out_of_training_mode() -> None:
    encoder = nn.Sequential(ExternalEncoder(Tokens())).train()
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    x = torch.randn(3, 12)
    torch.testing.assert_close(encoder(x), encoder(x), rtol=0, atol=0)


def test_features_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="expected \\[batch, dim\\] or"):
        ExternalEncoder(nn.Flatten(0))(torch.zeros(2, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers", reason="needs pip install 'latentmd[vjepa]'")
    torch.manual_seed(0)
    config = transformers.VJEPA2Config(
        patch_size=16, crop_size=64, frames_per_clip=2, hidden_size=48, num_attention_heads=4, num_hidden_layers=2,
        pred_hidden_size=48, pred_num_attention_heads=4, pred_num_hidden_layers=1,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("vjepa2")
    transformers.VJEPA2Model(config).save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_vjepa2_is_loaded_frozen(folder: Path) -> None:
    encoder = vjepa2_encoder(str(folder))
    z = encoder(torch.rand(3, 2, 64, 64))
    assert z.shape == (3, 1, 48) and torch.isfinite(z).all()
    assert not z.requires_grad and not any(p.requires_grad for p in encoder.parameters())


def test_vjepa2_features_are_those_of_the_model(folder: Path) -> None:
    """Against the model called by hand: colours repeated and normalised, patches averaged over the cells."""
    from transformers import VJEPA2Model

    obs = torch.rand(2, 4, 64, 64)
    model: Any = VJEPA2Model.from_pretrained(folder).eval()
    clip = torch.stack([(obs - m) / s for m, s in [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]], dim=2)
    with torch.no_grad():
        patches = model(clip, skip_predictor=True).last_hidden_state.reshape(2, 2, 4, 4, 48).mean(1)
    pooled = vjepa2_encoder(str(folder))(obs)
    torch.testing.assert_close(pooled[:, 0], patches.mean((1, 2)), rtol=0, atol=1e-5)
    cells = vjepa2_encoder(str(folder), grid=2)(obs)
    assert cells.shape == (2, 4, 48)
    torch.testing.assert_close(cells[:, 1], patches[:, :2, 2:].mean((1, 2)), rtol=0, atol=1e-5)
    one = vjepa2_encoder(str(folder), grid=2)(obs[:1])
    torch.testing.assert_close(one, cells[:1], rtol=0, atol=1e-5)


def test_pictures_of_another_size_are_resized(folder: Path) -> None:
    encoder = vjepa2_encoder(str(folder))
    assert encoder(torch.rand(1, 2, 32, 32)).shape == (1, 1, 48)


def test_what_cannot_be_loaded_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot load .*; expected a model on the Hugging Face hub or a folder"):
        vjepa2_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="a model of kind 'bert'; expected 'vjepa2'"):
        vjepa2_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(ValueError, match="no weights that can be loaded"):
        vjepa2_encoder(str(tmp_path))
    with pytest.raises(ValueError, match="expected 1 to 4, the patches"):
        vjepa2_encoder(str(folder), grid=5)


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'latentmd\[vjepa\]'"):
        vjepa2_encoder()


def test_video_features_name_the_model_they_got(folder: Path) -> None:
    from transformers import VJEPA2Model

    features = VideoFeatures(VJEPA2Model.from_pretrained(folder))
    assert (features.size, features.patches) == (64, 4)
