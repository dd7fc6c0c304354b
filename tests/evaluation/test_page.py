"""Sections of the page of an evaluation."""

from __future__ import annotations

import numpy as np

from latentmd.evaluation.page import accuracy_section
from latentmd.evaluation.speed import AccuracyCurve


def test_the_caption_says_when_the_targets_are_reached() -> None:
    seconds = np.array([1.0, 10.0, 100.0])
    good = AccuracyCurve(seconds, np.array([0.5, 0.05, 0.02]), np.array([np.inf, 0.2, 0.1]))
    bad = AccuracyCurve(seconds, np.array([0.5, 0.4, 0.3]), np.array([1.0, 0.9, 0.8]))
    section = accuracy_section({"surrogate": good, "plain MD": bad}, 30.0)
    ((image, caption),) = section.figures
    assert image.startswith(b"\x89PNG") and "surrogate 10 s" in caption and "plain MD never" in caption
    assert "30 s" in section.text
