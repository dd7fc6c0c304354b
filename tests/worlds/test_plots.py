"""Pictures of a training on a world."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latentmd.training.loop import append_rows
from latentmd.worlds import plots

RNG = np.random.default_rng(0)


def test_curves_maps_and_sheets_are_pictures(tmp_path: Path) -> None:
    append_rows(tmp_path / "log.csv", "jepa", 1, {"loss": 1.0})
    append_rows(tmp_path / "log.csv", "jepa", 2, {"loss": 0.5})
    runs = [RNG.normal(size=(20, 1, 4)) for _ in range(2)]
    drawn = [
        plots.latent_map(runs, [np.arange(20.0)] * 2, "PCA", 0, "s"),
        plots.forecast_curves({"own": RNG.random(6)}, 0.1, "s", {"own": RNG.random(6)}),
        plots.reconstruction_sheet(RNG.random((8, 64, 64)), RNG.random((8, 64, 64))),
    ]
    assert all(image is not None and image.startswith(b"\x89PNG") for image in drawn)


def test_a_forecast_is_an_animation(tmp_path: Path) -> None:
    plots.forecast_gif(tmp_path / "forecast.gif", {"truth": RNG.random((5, 64, 64)), "own": RNG.random((5, 64, 64))})
    assert (tmp_path / "forecast.gif").read_bytes().startswith(b"GIF8")
