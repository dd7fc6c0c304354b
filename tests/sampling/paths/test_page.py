"""The page of a run of paths: ways, states and what the run did, as the summary has them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from latentmd.sampling.paths.page import _mean, overview, transitions
from latentmd.sampling.paths.passages import Outcome, Passage
from latentmd.sampling.paths.run import write_results
from latentmd.units import percent


@pytest.fixture(scope="module")
def page(path_plan: Any, batches: Any) -> tuple[str, dict[str, Any], Path]:
    folder = path_plan.request.out
    (folder / "topology.pdb").write_text(path_plan.subject.manifest.topology)
    summary = write_results(path_plan, [batch.file for batch in batches])
    return (folder / "paths.html").read_text(encoding="utf-8"), summary, folder


def test_the_page_says_what_was_asked_for(page: tuple[str, dict[str, Any], Path]) -> None:
    text, _, folder = page
    assert "4 paths from state 1 to state 3 in 60 ps, a frame every 20 ps" in text
    assert (folder / "paths.png").read_bytes().startswith(b"\x89PNG")


def test_every_way_and_state_has_its_row(page: tuple[str, dict[str, Any], Path]) -> None:
    text, summary, _ = page
    assert summary["channels"]
    for way in summary["channels"]:
        assert f"<td>{way['states']}</td>" in text and percent(way["share"], 1) in text
    for state in summary["states"]:
        assert percent(state["population"], 1) in text


def test_the_page_tells_how_well_the_guide_fits(page: tuple[str, dict[str, Any], Path]) -> None:
    text, summary, _ = page
    assert percent(summary["least_effective_share"], 1) in text
    assert "least effective share of particles" in text and "frames minimised" in text


def test_the_overview_has_colours_where_paths_are(path_plan: Any, drawn: Any) -> None:
    pixels = image.imread(io.BytesIO(overview(Outcome(path_plan, drawn))))[..., :3]
    assert pixels.shape[1] > 2 * pixels.shape[0]
    for third in np.array_split(pixels, 3, axis=1):  # two surfaces with paths, and states over time
        assert (np.ptp(third, axis=2) > 0.25).sum() > 50


def test_durations_are_shown_where_a_path_arrives(path_plan: Any, drawn: Any) -> None:
    found = Outcome(path_plan, drawn).passages
    assert all(p.arrives > 0 for p in found)
    shown = transitions(path_plan, found)
    assert shown is not None and shown.startswith(b"\x89PNG")
    assert transitions(path_plan, [Passage((0,), 0, -1)]) is None


def test_the_mean_of_angles_is_taken_around_the_circle() -> None:
    points = np.array([[170.0, 10.0], [-170.0, 30.0]])
    assert np.abs(_mean(points, 360.0)) == pytest.approx([180.0, 20.0])
    assert _mean(points, 0.0) == pytest.approx([0.0, 20.0])
