"""Joint-embedding prediction of anything: objectives, the watch for collapse, frozen latents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from latentmd.core.jepa import JEPA
from latentmd.core.objectives import SIGReg, VarianceCovariance
from latentmd.core.steps.residual import ResidualPredictor
from latentmd.encoders.vectors import StandardEncoder
from latentmd.training.config import EmbeddingSettings, JEPAConfig
from latentmd.training.embedding import build_objective, device_of, embedding_stage, encode_all
from latentmd.training.loop import TrainingError
from latentmd.training.windows import LaggedWindows


class _Constant(nn.Module):
    """An encoder that has collapsed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (0 * x.sum(-1, keepdim=True) + self.weight).unsqueeze(1)


def test_the_settings_name_the_objective() -> None:
    assert isinstance(build_objective(EmbeddingSettings(), 0), VarianceCovariance)
    assert isinstance(build_objective(EmbeddingSettings(objective="sigreg"), 0), SIGReg)


def test_a_collapsed_latent_stops_the_stage_at_its_end() -> None:
    runs = [np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)]
    jepa = JEPA(_Constant(), ResidualPredictor(3, (1.0, 2.0), 8, 1), VarianceCovariance(), dim=3)
    config = JEPAConfig(steps=10, batch=8, minimum_rank=1.5)
    stage = embedding_stage(jepa, LaggedWindows(runs, (1, 2), 1), config, 0, terms=("prediction", "gain"))
    seen = stage.losses(torch.Generator().manual_seed(0))
    assert set(seen) == {"loss", "prediction", "gain"}
    assert stage.after_step is not None
    stage.after_step(4, 0.4)
    with pytest.raises(TrainingError, match="the latent collapsed: effective rank"):
        stage.after_step(10, 1.0)


def test_encoders_without_weights_are_on_the_cpu() -> None:
    runs = [np.random.default_rng(i).normal(size=(70, 4)) for i in range(2)]
    encoder = StandardEncoder(torch.from_numpy(runs[0].astype(np.float32)))
    assert device_of(encoder) == torch.device("cpu")
    found = encode_all(encoder, runs, batch=32)
    assert found[1].dtype == np.float32 and found[1].shape[0] == 70
    np.testing.assert_allclose(found[0].reshape(70, -1).mean(0), 0, atol=1e-5)
