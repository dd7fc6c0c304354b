"""The page of free energies: what it says of numbers that are known, and of those that are not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from latentmd.sampling.hybrid.page import UNKNOWN, _interval, _verdict


def test_the_page_says_what_is_missing_in_words(finished: Path) -> None:
    page = (finished / "free_energy.html").read_text()
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["review"]["missing"] and not summary["converged"]
    assert "not converged" in page and "phi ALA2" in page
    own = re.sub(r'<script id="library">.*?</script>', "", page, flags=re.S)
    assert page.count("data:image/png") >= 2 and "http" not in own


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"value": None, "low": None, "high": None}, UNKNOWN),
        ({"value": 2.5, "low": None, "high": None}, "2.5 ps"),
        ({"value": 2.5, "low": 2.0, "high": 4.0}, "2.5 (2 to 4) ps"),
    ],
)
def test_numbers_have_their_intervals(value: dict[str, float | None], text: str) -> None:
    assert _interval(value, " ps") == text


def test_the_verdict_follows_what_is_missing() -> None:
    assert _verdict({"missing": []}).startswith("Yes") and _verdict({"missing": ["x"]}).startswith("Not yet")
