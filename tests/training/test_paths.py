"""Training of a path model: windows, the file it ends in, and resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from latentmd.core.paths.masked import MaskedTrajectory, TrajectorySettings
from latentmd.io.atomic import OutputError
from latentmd.model.paths import load_path_model
from latentmd.training.loop import TrainingError
from latentmd.training.paths import PathTraining, fit_paths, path_stage, train_paths
from latentmd.training.run import TrainingRun

TOP = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
SHORT = PathTraining(steps=3, batch=4, width=16, depth=1)


def test_windows_stay_inside_a_trajectory_and_know_their_spacing() -> None:
    # Each trajectory counts its frames, so that the loss sees the stride that the times claim.
    latents = [np.arange(200, dtype=np.float32).reshape(-1, 1, 1) + 1000 * k for k in range(3)]
    seen = []

    class _Look(MaskedTrajectory):
        def loss(self, x, mask, times, generator, context=None):  # type: ignore[no-untyped-def]
            seen.append((x, times))
            return super().loss(x, mask, times, generator, context)

    stage = path_stage(
        _Look(TrajectorySettings(1, (2.0, 20.0), width=16, depth=1)), latents, [2.0] * len(latents), SHORT
    )
    for seed in range(20):
        stage.losses(torch.Generator().manual_seed(seed))
    for x, times in seen:
        steps = x[:, :, 0, 0].diff(dim=1).abs()
        assert torch.allclose(2.0 * steps, times.diff(dim=1), atol=1e-3)
        assert float(times.diff(dim=1).max()) <= SHORT.longest_lag


def test_rare_jumps_between_given_frames_are_seen_often() -> None:
    # a hundred runs of 200 frames jump once each: windows of 16 frames at a stride of 1 hold the jump 7 % of the time
    latents = [(np.arange(200) > 100).astype(np.float32).reshape(-1, 1, 1)] * 100
    seen = {}
    for candidates in (1, 64):
        settings = PathTraining(batch=200, width=16, depth=1, lengths=(16,), longest_lag=1.0, candidates=candidates)
        x, mask = _batch(latents, settings)
        ends = mask[:, 0, 0] & mask[:, -1, 0]  # given, so that the choice sees the jump
        seen[candidates] = float((x[ends, 0, 0, 0] != x[ends, -1, 0, 0]).float().mean())
    assert seen[1] < 0.2 and seen[64] > 0.4


def test_the_choice_of_windows_sees_given_frames_only() -> None:
    # The jump is only between frames of which one at most is given: it is no more frequent than without a choice.
    latents = [(np.arange(200) > 100).astype(np.float32).reshape(-1, 1, 1)] * 100
    share = []
    for candidates in (1, 64):
        settings = PathTraining(batch=2000, width=16, depth=1, lengths=(16,), longest_lag=1.0, candidates=candidates)
        x, mask = _batch(latents, settings)
        first = mask[:, :, 0].sum(dim=1) == 1
        share.append(float((x[first, 0, 0, 0] != x[first, -1, 0, 0]).float().mean()))
    assert share[1] == pytest.approx(share[0], abs=0.08)


def _batch(latents: list[np.ndarray], settings: PathTraining) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows and masks of one batch."""
    seen = []

    class _Look(MaskedTrajectory):
        def loss(self, x, mask, times, generator, context=None):  # type: ignore[no-untyped-def]
            seen.append((x, mask))
            return super().loss(x, mask, times, generator, context)

    stage = path_stage(
        _Look(TrajectorySettings(1, (1.0, 2.0), width=16, depth=1)), latents, [1.0] * len(latents), settings
    )
    stage.losses(torch.Generator().manual_seed(0))
    return seen[0]


def test_too_short_trajectories_are_refused() -> None:
    with pytest.raises(TrainingError, match="has 9 frames; a path model needs 16 or more"):
        path_stage(
            MaskedTrajectory(TrajectorySettings(1, (1.0, 20.0))), [np.zeros((9, 1, 1), np.float32)], [1.0], SHORT
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_training_leaves_the_path_model_of_a_bundle(alanine_runs: list[np.ndarray], tmp_path: Path) -> None:
    import mdtraj

    path = tmp_path / "run.xtc"
    topology = mdtraj.load_topology(str(TOP))
    mdtraj.Trajectory(alanine_runs[0][:60], topology, time=np.arange(60.0)).save_xtc(str(path))
    out = train_paths([path], TOP, "alanine-dipeptide", out=tmp_path / "my.paths.pt", settings=SHORT)
    from latentmd.model.file import read_manifest

    model, record = load_path_model(out, read_manifest("alanine-dipeptide").weights_sha256)
    assert record.frames == 60 and record.frame_interval == pytest.approx(1.0) and record.steps == 3
    again = train_paths([path], TOP, "alanine-dipeptide", out=out, settings=SHORT, resume=True)
    for a, b in zip(model.parameters(), load_path_model(again, record.bundle_sha256)[0].parameters(), strict=True):
        assert torch.equal(a, b)


def test_checkpoints_of_another_model_are_not_resumed(tmp_path: Path) -> None:
    def fit(model: str, resume: bool) -> bytes:
        run = TrainingRun.of(tmp_path, lambda *_: None, device="cpu", resume=resume)
        latents = [np.random.default_rng(0).normal(size=(40, 1, 1)).astype(np.float32)]
        return fit_paths(tmp_path / "a.paths.pt", latents, [1.0], SHORT, model=model, run=run).read_bytes()

    assert fit("one", False) == fit("one", True)
    with pytest.raises(OutputError, match="another model"):
        fit("two", True)
