"""The stages in order: what each is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from latentmd.training.assembly import forecast, new_encoder, split_axes
from latentmd.training.config import parse_config
from latentmd.training.data import Trajectories, load_data
from latentmd.training.run import TrainingRun


def test_latents_are_encoded_once_and_kept_for_a_resumed_run(
    alanine_runs: list[Any], pdb: Path, tiny: dict[str, Any], tmp_path: Path
) -> None:
    config = parse_config(tiny)
    data = load_data(Trajectories(alanine_runs, 0.2), pdb, config)
    encoder = new_encoder(data.topology, config).eval()
    run = TrainingRun(tmp_path, tmp_path / "log.csv", lambda *_: None, "cpu", "32-true", devices=1, resume=True)
    first = split_axes(encoder, data, config, run)
    assert (tmp_path / "latents.npz").exists() and "encode" in run.seconds
    again = split_axes(
        new_encoder(data.topology, config).eval(), data, config, run
    )  # another encoder, the same latents
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
