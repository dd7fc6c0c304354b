"""Stages: collapse is seen and stops the run, losses are drawn from the seed alone, the predictor's two kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentmd.decoders.torsions import TorsionDecoder
from latentmd.training.config import TrainingConfig, parse_config
from latentmd.training.data import Data
from latentmd.training.embedding import collapse_diagnostics, encode_all, refuse_collapse
from latentmd.training.loop import Stage, TrainingError, run_stage
from latentmd.training.run import TrainingRun
from latentmd.training.stages import SurrogateTraining, new_encoder


def run(stage: Stage, folder: Path, **options: Any) -> torch.nn.Module:
    return run_stage(stage, folder, log=folder / "training.csv", report=lambda *_: None, device="cpu", **options)


def training(topology: Any, runs: list[Any], config: TrainingConfig, folder: Path) -> SurrogateTraining:
    torch.manual_seed(0)
    data = Data(runs, [], {}, topology, pdb="")
    return SurrogateTraining(data, config, TrainingRun.of(folder, lambda *_: None, device="cpu", resume=True))


def new_stage(topology: Any, runs: list[Any], config: TrainingConfig) -> tuple[Any, Stage]:
    stage = training(topology, runs, config, Path()).embedding()
    return stage.module, stage


def test_collapse_stops_the_run_and_says_so(
    alanine_topology: Any, alanine_runs: list[Any], tiny: dict[str, Any], tmp_path: Path
) -> None:
    """Prediction alone, without anything against collapse: a constant latent is the easy answer."""
    settings = {
        **tiny["jepa"],
        "variance": 0,
        "covariance": 0,
        "ground": 0,
        "steps": 200,
        "learning_rate": 0.03,
        "ema": 0.9,
    }
    config = parse_config({**tiny, "jepa": settings})
    _, stage = new_stage(alanine_topology, alanine_runs, config)
    with pytest.raises(
        TrainingError, match=r"the latent collapsed: effective rank .* at step \d+; raise jepa.variance"
    ):
        run(stage, tmp_path)
    assert not (tmp_path / "jepa.pt").exists()


@pytest.mark.parametrize(("begun", "least"), [(False, 3.0), (True, 1.5)])
def test_the_default_objective_does_not_collapse(
    alanine_topology: Any,
    alanine_runs: list[Any],
    tiny: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begun: bool,
    least: float,
) -> None:
    """A read-out that begins at the mean, as trainings have it, keeps fewer axes alive in so few steps: rank 2.2."""
    if not begun:
        monkeypatch.setattr(TorsionDecoder, "begin_at_the_mean", lambda *_: None)
    jepa, stage = new_stage(
        alanine_topology, alanine_runs, parse_config({**tiny, "jepa": {**tiny["jepa"], "steps": 100}})
    )
    frames = torch.from_numpy(np.concatenate(alanine_runs)[::10])
    before = collapse_diagnostics(jepa, frames)
    run(stage, tmp_path)
    after = collapse_diagnostics(jepa, frames)
    assert after["rank"] > least
    assert after["std_mean"] > before["std_mean"]
    assert 0 < after["std_min"] <= after["std_mean"]


def test_refusal_depends_on_rank_and_on_shrinking() -> None:
    start = {"rank": 5.0, "std_min": 0.1, "std_mean": 1.0}
    refuse_collapse({"rank": 3.0, "std_min": 0.1, "std_mean": 0.5}, start, 1.5, 10)
    for seen in ({"rank": 1.2, "std_min": 0.1, "std_mean": 1.0}, {"rank": 3.0, "std_min": 0.0, "std_mean": 0.1}):
        with pytest.raises(TrainingError, match="the latent collapsed"):
            refuse_collapse(seen, start, 1.5, 10)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "sigreg", "ema": None},
        {"objective": "sigreg", "matching": "cosine"},
        {"mask": 0.3, "regularise": "sequence", "rollout": 3},
    ],
    ids=["sigreg", "cosine", "masked"],
)
def test_variants_of_the_objective_train(
    alanine_topology: Any, alanine_runs: list[Any], tiny: dict[str, Any], tmp_path: Path, changes: dict[str, Any]
) -> None:
    _, stage = new_stage(alanine_topology, alanine_runs, parse_config({**tiny, "jepa": {**tiny["jepa"], **changes}}))
    before = [p.clone() for p in stage.module.encoder.parameters()]  # type: ignore[union-attr,operator]
    run(stage, tmp_path)
    assert any(not torch.equal(a, b) for a, b in zip(before, stage.module.encoder.parameters(), strict=True))  # type: ignore[union-attr,operator]


def test_target_ends_frozen_and_close_to_the_encoder(
    alanine_topology: Any, alanine_runs: list[Any], tiny: dict[str, Any], tmp_path: Path
) -> None:
    jepa, stage = new_stage(alanine_topology, alanine_runs, parse_config(tiny))
    start = [p.clone() for p in jepa.target.parameters()]
    run(stage, tmp_path)
    moved = [not torch.equal(a, b) for a, b in zip(start, jepa.target.parameters(), strict=True)]
    assert any(moved) and not any(p.requires_grad for p in jepa.target.parameters())


@pytest.mark.parametrize("kind", ["flow", "mixture"])
def test_predictor_stage_learns_from_cached_axes(
    kind: str, alanine_topology: Any, tiny: dict[str, Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    slow = [rng.standard_normal((400, 3)).astype(np.float32) for _ in range(2)]
    config = parse_config({**tiny, "predictor": {**tiny["predictor"], "kind": kind, "steps": 60, "batch": 256}})
    stage = training(alanine_topology, [], config, tmp_path).predictor(slow)
    before = float(stage.losses(torch.Generator().manual_seed(0))["loss"].detach())
    trained: Any = run(stage, tmp_path)
    stage.module.load_state_dict(trained.state_dict())
    after = float(stage.losses(torch.Generator().manual_seed(0))["loss"].detach())
    assert after < before
    assert type(trained).__name__ == {"flow": "FlowPredictor", "mixture": "MixturePredictor"}[kind]


def test_cell_centres_follow_the_seed(alanine_topology: Any, tiny: dict[str, Any], tmp_path: Path) -> None:
    slow = [np.random.default_rng(1).standard_normal((500, 3)).astype(np.float32)]
    made = training(alanine_topology, [], parse_config({**tiny, "seed": 0}), tmp_path)
    one, two = (made.predictor(slow).module.centres for _ in range(2))
    assert torch.equal(one, two) and one.shape == (3, 3)  # type: ignore[arg-type,union-attr]


def test_encode_all_equals_the_encoder(alanine_topology: Any, alanine_runs: list[Any], tiny: dict[str, Any]) -> None:
    encoder = new_encoder(alanine_topology, parse_config(tiny)).eval()
    found = encode_all(encoder, [run[:70] for run in alanine_runs], batch=32)
    with torch.no_grad():
        expected = encoder(torch.from_numpy(alanine_runs[1][:70]))
    assert [z.shape for z in found] == 3 * [(70, 3, 4)]
    np.testing.assert_allclose(found[1], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["flow", "mixture"])
def test_reduced_precision_trains(
    alanine_topology: Any, alanine_runs: list[Any], tiny: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    config = parse_config({**tiny, "predictor": {**tiny["predictor"], "kind": kind}})
    _, stage = new_stage(alanine_topology, alanine_runs, config)
    jepa: Any = run(stage, tmp_path, precision="bf16-mixed")
    assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in jepa.parameters())
    slow = [np.random.default_rng(1).standard_normal((300, 3)).astype(np.float32)]
    stage = training(alanine_topology, alanine_runs, config, tmp_path).predictor(slow)
    predictor = run(stage, tmp_path, precision="bf16-mixed")
    assert all(torch.isfinite(p).all() for p in predictor.parameters())


def test_latents_are_encoded_once_and_kept_for_a_resumed_run(
    alanine_topology: Any, alanine_runs: list[Any], tiny: dict[str, Any], tmp_path: Path
) -> None:
    config = parse_config(tiny)
    made = training(alanine_topology, alanine_runs, config, tmp_path)
    first = made.split_axes(new_encoder(alanine_topology, config).eval())
    assert (tmp_path / "latents.npz").exists() and "encode" in made.run.seconds
    again = made.split_axes(new_encoder(alanine_topology, config).eval())
    np.testing.assert_array_equal(first[2][0], again[2][0])
    whitened = np.concatenate(first[2])
    np.testing.assert_allclose(whitened.std(0)[: first[0].n_slow], 1, atol=0.02)


def test_the_forecast_is_of_the_stages_that_are_not_finished(
    alanine_topology: Any, alanine_runs: list[Any], tiny: dict[str, Any], tmp_path: Path
) -> None:
    made = training(alanine_topology, alanine_runs, parse_config(tiny), tmp_path)
    found = made.forecast()
    assert list(found) == ["jepa", "decoder", "fast", "predictor", "encode"] and min(found.values()) > 0
    for name in ("jepa.pt", "fast.pt", "latents.npz"):
        (tmp_path / name).touch()
    assert list(made.forecast()) == ["decoder", "predictor"]


def test_the_read_out_of_the_latent_begins_at_the_mean(
    alanine_topology: Any, alanine_runs: list[Any], tiny: dict[str, Any], tmp_path: Path
) -> None:
    frames = torch.from_numpy(np.concatenate(alanine_runs))
    ground: Any = training(alanine_topology, alanine_runs, parse_config(tiny), tmp_path).embedding().module.ground
    turns, rest = ground.targets(frames)
    directions = torch.stack([turns.cos(), turns.sin()], dim=-1)
    spread = ((directions - directions.mean(0)) / ground.spread).square().mean() * 10 + rest.square().mean()
    latents = torch.randn(len(frames), ground.network.in_features)
    torch.testing.assert_close(ground.loss(latents, frames), spread, rtol=0.01, atol=0)
