"""Pictures of paths: there where there is something to show, and of the size asked for."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from latentmd.sampling.paths.figures import _mean, overview, transitions
from latentmd.sampling.paths.passages import Passage, passage


def _passages(path_plan: Any, drawn: Any) -> list[Passage]:
    return [passage(row, 0, 2) for row in path_plan.chain.states[drawn.cells]]


def test_the_overview_has_colours_where_paths_are(path_plan: Any, drawn: Any) -> None:
    pixels = image.imread(io.BytesIO(overview(path_plan, drawn, _passages(path_plan, drawn))))[..., :3]
    assert pixels.shape[1] > 2 * pixels.shape[0]
    for third in np.array_split(pixels, 3, axis=1):  # two surfaces with paths, and states over time
        assert (np.ptp(third, axis=2) > 0.25).sum() > 50


def test_durations_are_shown_where_a_path_arrives(path_plan: Any, drawn: Any) -> None:
    found = _passages(path_plan, drawn)
    assert all(p.arrives > 0 for p in found)
    shown = transitions(path_plan, found)
    assert shown is not None and shown.startswith(b"\x89PNG")
    assert transitions(path_plan, [Passage((0,), 0, -1)]) is None


def test_the_mean_of_angles_is_taken_around_the_circle() -> None:
    points = np.array([[170.0, 10.0], [-170.0, 30.0]])
    assert np.abs(_mean(points, 360.0)) == pytest.approx([180.0, 20.0])
    assert _mean(points, 0.0) == pytest.approx([0.0, 20.0])
