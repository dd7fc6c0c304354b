"""Stages: collapse is seen and stops the run, losses are drawn from the seed alone, the predictor's two kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.decoders.torsions import TorsionDecoder
from latentmd.training import stages
from latentmd.training.config import TrainingConfig, parse_config
from latentmd.training.data import Data, Trajectories, read_source, split_data
from latentmd.training.embedding import collapse_diagnostics, encode_all, refuse_collapse
from latentmd.training.loop import Stage, TrainingError, run_stage
from latentmd.training.run import TrainingRun
from latentmd.training.stages import forecast, new_encoder, split_axes


def load_data(trajectories: Any, top: Path, config: TrainingConfig) -> Data:
    return split_data(read_source(trajectories, top, None), config)


def run(stage: Stage, folder: Path, **options: Any) -> torch.nn.Module:
    return run_stage(stage, folder, log=folder / "training.csv", report=lambda *_: None, device="cpu", **options)


def new_stage(topology: Any, runs: list[Any], config: TrainingConfig) -> tuple[Any, Stage]:
    torch.manual_seed(0)
    encoder = new_encoder(topology, config)
    ground = TorsionDecoder(
        InternalCoordinates.from_topology(topology), encoder.n_tokens * config.encoder.token_dim, width=0
    )
    ground.fit_statistics(torch.from_numpy(runs[0]))
    jepa = stages.build_jepa(encoder, ground, config)
    return jepa, stages.jepa_stage(jepa, runs, config)


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


def test_the_default_objective_does_not_collapse(
    alanine_topology: Any, alanine_runs: list[Any], tiny: dict[str, Any], tmp_path: Path
) -> None:
    jepa, stage = new_stage(
        alanine_topology, alanine_runs, parse_config({**tiny, "jepa": {**tiny["jepa"], "steps": 100}})
    )
    frames = torch.from_numpy(np.concatenate(alanine_runs)[::10])
    before = collapse_diagnostics(jepa, frames)
    run(stage, tmp_path)
    after = collapse_diagnostics(jepa, frames)
    assert after["rank"] > 3
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
def test_predictor_stage_learns_from_cached_axes(kind: str, tiny: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    slow = [rng.standard_normal((400, 3)).astype(np.float32) for _ in range(2)]
    config = parse_config({**tiny, "predictor": {**tiny["predictor"], "kind": kind, "steps": 60, "batch": 256}})
    torch.manual_seed(0)
    predictor = stages.build_predictor(slow, config)
    stage = stages.predictor_stage(predictor, slow, config)
    before = float(stage.losses(torch.Generator().manual_seed(0))["loss"].detach())
    trained: Any = run(stage, tmp_path)
    after = float(
        stages.predictor_stage(trained, slow, config).losses(torch.Generator().manual_seed(0))["loss"].detach()
    )
    assert after < before
    assert type(trained).__name__ == {"flow": "FlowPredictor", "mixture": "MixturePredictor"}[kind]


def test_cell_centres_follow_the_seed(tiny: dict[str, Any]) -> None:
    slow = [np.random.default_rng(1).standard_normal((500, 3)).astype(np.float32)]
    one, two = (stages.build_predictor(slow, parse_config({**tiny, "seed": 0})).centres for _ in range(2))
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
    predictor = run(
        stages.predictor_stage(stages.build_predictor(slow, config), slow, config), tmp_path, precision="bf16-mixed"
    )
    assert all(torch.isfinite(p).all() for p in predictor.parameters())


def test_latents_are_encoded_once_and_kept_for_a_resumed_run(
    alanine_runs: list[Any], pdb: Path, tiny: dict[str, Any], tmp_path: Path
) -> None:
    config = parse_config(tiny)
    data = load_data(Trajectories(alanine_runs, 0.2), pdb, config)
    encoder = new_encoder(data.topology, config).eval()
    run = TrainingRun(tmp_path, tmp_path / "log.csv", lambda *_: None, "cpu", "32-true", devices=1, resume=True)
    first = split_axes(encoder, data, config, run)
    assert (tmp_path / "latents.npz").exists() and "encode" in run.seconds
    other = new_encoder(data.topology, config).eval()
    again = split_axes(other, data, config, run)
    np.testing.assert_array_equal(first[2][0], again[2][0])
    whitened = np.concatenate(first[2])
    np.testing.assert_allclose(whitened.std(0)[: first[0].n_slow], 1, atol=0.02)


def test_the_forecast_is_of_the_stages_that_are_not_finished(
    alanine_runs: list[Any], pdb: Path, tiny: dict[str, Any], tmp_path: Path
) -> None:
    config = parse_config(tiny)
    data = load_data(Trajectories(alanine_runs, 0.2), pdb, config)
    run = TrainingRun.of(tmp_path, lambda *_: None, device="cpu", resume=True)
    found = forecast(data, config, run)
    assert list(found) == ["jepa", "decoder", "fast", "predictor", "encode"] and min(found.values()) > 0
    for name in ("jepa.pt", "fast.pt", "latents.npz"):
        (tmp_path / name).touch()
    assert list(forecast(data, config, run)) == ["decoder", "predictor"]


def test_the_read_out_of_the_latent_begins_at_the_mean(
    alanine_runs: list[Any], pdb: Path, tiny: dict[str, Any]
) -> None:
    data = load_data(Trajectories(alanine_runs, 0.2), pdb, parse_config(tiny))
    frames = torch.from_numpy(np.concatenate(data.train))
    ground: Any = stages._embedding(data, parse_config(tiny), frames).module.ground
    turns, rest = ground.targets(frames)
    directions = torch.stack([turns.cos(), turns.sin()], dim=-1)
    spread = ((directions - directions.mean(0)) / ground.spread).square().mean() * 10 + rest.square().mean()
    latents = torch.randn(len(frames), ground.network.in_features)
    torch.testing.assert_close(ground.loss(latents, frames), spread, rtol=0.01, atol=0)
