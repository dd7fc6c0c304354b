"""The page of a run of paths: ways, states and what the run did, as the summary has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from latentmd.sampling.paths.results import write_results


@pytest.fixture(scope="module")
def page(path_plan: Any, batches: Any) -> tuple[str, dict[str, Any], Path]:
    folder = path_plan.request.out
    (folder / "topology.pdb").write_text(path_plan.subject.manifest.topology)
    summary = write_results(path_plan, [batch.file for batch in batches], {}, (0.0, 0.0))
    return (folder / "paths.html").read_text(encoding="utf-8"), summary, folder


def test_the_page_says_what_was_asked_for(page: tuple[str, dict[str, Any], Path]) -> None:
    text, _, folder = page
    assert "4 paths from state 1 to state 3 in 60 ps, a frame every 20 ps" in text
    assert (folder / "paths.png").read_bytes().startswith(b"\x89PNG")


def test_every_way_and_state_has_its_row(page: tuple[str, dict[str, Any], Path]) -> None:
    text, summary, _ = page
    assert summary["channels"]
    for way in summary["channels"]:
        assert f"<td>{way['states']}</td>" in text and f"{way['share']:.1%}" in text
    for state in summary["states"]:
        assert f"{state['population']:.1%}" in text


def test_the_page_tells_how_well_the_guide_fits(page: tuple[str, dict[str, Any], Path]) -> None:
    text, summary, _ = page
    assert f"{summary['least_effective_share']:.1%}" in text
    assert "least effective share of particles" in text and "frames minimised" in text
