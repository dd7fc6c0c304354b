"""Joint-embedding prediction of anything: objectives, the watch for collapse, frozen latents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from latentmd.core.jepa import JEPA
from latentmd.core.objectives import SIGReg, VarianceCovariance
from latentmd.core.steps.residual import ResidualPredictor
from latentmd.encoders.vectors import StandardEncoder
from latentmd.training.config import JEPAConfig
from latentmd.training.embedding import build_objective, device_of, embedding_stage, encode_all, fit_basis, landmarks
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
    assert isinstance(build_objective(JEPAConfig(), 0), VarianceCovariance)
    assert isinstance(build_objective(JEPAConfig(objective="sigreg"), 0), SIGReg)


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


def two_timescales(frames: int, seed: int) -> NDArray[np.float32]:
    """AR(1) coordinates with decays 0.5 and 0.95 per frame and one of noise, mixed and scaled very unequally."""
    rng = np.random.default_rng(seed)
    decay = np.array([0.5, 0.95, 0.0])
    x = np.empty((frames, 3))
    x[0] = rng.standard_normal(3)
    for t in range(1, frames):
        x[t] = decay * x[t - 1] + np.sqrt(1 - decay**2) * rng.standard_normal(3)
    mixing = np.array([[1.0, 0.2, 0.01], [0.3, 0.05, 0.002], [0.5, -1.0, 0.02]])
    return (x @ mixing + np.array([1.0, -2.0, 0.1])).astype(np.float32)


@pytest.fixture(scope="module")
def latents() -> list[NDArray[np.float32]]:
    return [two_timescales(8000, seed) for seed in (0, 1)]


def test_axes_are_white_and_ordered_by_timescale(latents: list[NDArray[np.float32]]) -> None:
    basis, correlation = fit_basis(latents, 2, 0.1, (1, 3))
    z = torch.from_numpy(np.concatenate(latents))
    slow, fast = basis(z.unsqueeze(1))
    w = torch.cat([slow, fast], dim=-1).squeeze(1)
    assert (slow.shape, fast.shape) == ((16000, 1, 2), (16000, 1, 1))
    assert (basis.n_slow, basis.n_fast) == (2, 1)
    torch.testing.assert_close(w.mean(0), torch.zeros(3), rtol=0, atol=0.02)
    # TICA whitens by the mean covariance of the earlier and later frames, which differs from this by edge frames.
    torch.testing.assert_close(torch.cov(w.T), torch.eye(3), rtol=0, atol=0.02)
    # decay^lag; standard error of the slowest about 0.02
    assert correlation == pytest.approx([0.95**2, 0.5**2, 0.0], abs=0.05)
    assert list(correlation) == sorted(correlation, reverse=True)
    for k in range(2):
        own = float(torch.corrcoef(torch.stack([w[:-2, k], w[2:, k]]))[0, 1])
        assert own == pytest.approx(correlation[k], abs=0.01)


def test_tokens_are_flattened(latents: list[NDArray[np.float32]]) -> None:
    basis, _ = fit_basis(latents, 2, 0.1, (1, 3))
    z = torch.from_numpy(latents[0][:4])
    one, many = basis(z.reshape(4, 1, 3)), basis(z.reshape(4, 3, 1))
    assert torch.equal(one[0], many[0]) and torch.equal(one[1], many[1])


@pytest.mark.parametrize(("limits", "expected"), [((1, 1), 1), ((3, 3), 3), ((1, 3), 2), ((8, 9), 3)])
def test_number_of_slow_axes_is_limited(
    latents: list[NDArray[np.float32]], limits: tuple[int, int], expected: int
) -> None:
    assert fit_basis(latents, 2, 0.1, limits)[0].n_slow == expected


def test_short_trajectories_are_left_out_and_none_is_refused(latents: list[NDArray[np.float32]]) -> None:
    alone, _ = fit_basis(latents[:1], 5, 0.1, (1, 3))
    with_stub, _ = fit_basis([latents[0], latents[1][:5]], 5, 0.1, (1, 3))
    torch.testing.assert_close(alone.matrix.abs(), with_stub.matrix.abs())
    with pytest.raises(ValueError, match=r"the longest trajectory has 5 frames; the slow/fast split needs more than 5"):
        fit_basis([latents[0][:5]], 5, 0.1, (1, 3))


def test_anchored_directions_follow_the_predictable_ones(latents: list[NDArray[np.float32]]) -> None:
    """Two anchors along one unpredictable direction make it the one extra slow axis; the basis stays white."""
    rng = np.random.default_rng(5)
    wide = [np.concatenate([z, rng.standard_normal((len(z), 3)).astype(np.float32)], axis=1) for z in latents]
    anchors = [np.stack([z[:, 4], -2 * z[:, 4] + 1], axis=1) for z in wide]
    plain, _ = fit_basis(wide, 2, 0.1, (1, 6))
    basis, correlation = fit_basis(wide, 2, 0.1, (1, 6), anchors)
    assert (plain.n_slow, basis.n_slow) == (2, 3)
    torch.testing.assert_close(basis.matrix[:, :2], plain.matrix[:, :2])
    z = torch.from_numpy(np.concatenate(wide))
    w = torch.cat(basis(z.unsqueeze(1)), dim=-1).squeeze(1)
    torch.testing.assert_close(torch.cov(w.T), torch.eye(6), rtol=0, atol=0.02)
    assert abs(float(torch.corrcoef(torch.stack([w[:, 2], z[:, 4]]))[0, 1])) > 0.999
    assert len(correlation) == 6 and abs(correlation[2]) < 0.05


def test_landmarks_tell_frames_far_from_the_data() -> None:
    rng = np.random.default_rng(0)
    runs = [rng.normal(size=(2000, 3)).astype(np.float32) for _ in range(3)]
    found = landmarks(runs[:2], runs[2:], seed=0)
    assert len(found.centres) == 256
    new = rng.normal(size=(5, 1000, 3))
    assert np.mean(found.distances(new) > found.limit) < 0.005
    assert (found.distances(new + np.array([6.0, 0.0, 0.0])) > found.limit).mean() > 0.9
    assert landmarks(runs, [], seed=0).limit < landmarks(runs, [3 * runs[0]], seed=0).limit
