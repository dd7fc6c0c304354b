"""Errors against wall time."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.evaluation.accuracy import AccuracyCurve, accuracy_curve, accuracy_section


def test_time_to_accuracy_is_when_both_errors_stay_low():
    seconds = np.arange(1.0, 6.0)
    curve = AccuracyCurve(seconds, np.array([0.5, 0.05, 0.2, 0.05, 0.04]), np.array([1, 0.1, 0.1, 0.5, 0.1]))
    assert curve.time_to() == 5.0
    assert AccuracyCurve(seconds, np.full(5, 0.01), np.zeros(5)).time_to() == 1.0
    assert AccuracyCurve(seconds, np.full(5, 0.5), np.zeros(5)).time_to() == np.inf


def test_curve_of_independent_samples_falls_with_their_number():
    rng = np.random.default_rng(0)

    def draw(n):
        phi = rng.choice([-1.5, 1.0], n, p=[0.8, 0.2]) + rng.normal(0, 0.2, n)
        return np.stack([phi, rng.normal(0, 0.5, n)], axis=1)

    runs, reference = [draw(5000) for _ in range(4)], [draw(50_000)]
    curve = accuracy_curve(runs, (0, 1), reference, seconds_per_frame=0.01, kt=0.6)
    assert curve.seconds[-1] == pytest.approx(20_000 * 0.01)
    assert curve.js[-1] < 0.3 * curve.js[0]
    assert curve.free_energy[-1] < 0.05


def test_the_caption_says_when_the_targets_are_reached() -> None:
    seconds = np.array([1.0, 10.0, 100.0])
    good = AccuracyCurve(seconds, np.array([0.5, 0.05, 0.02]), np.array([np.inf, 0.2, 0.1]))
    bad = AccuracyCurve(seconds, np.array([0.5, 0.4, 0.3]), np.array([1.0, 0.9, 0.8]))
    section = accuracy_section({"surrogate": good, "plain MD": bad}, 30.0)
    ((image, caption),) = section.figures
    assert image.startswith(b"\x89PNG") and "surrogate 10 s" in caption and "plain MD never" in caption
    assert "30 s" in section.text


def test_a_basin_that_no_set_visits_leaves_an_empty_panel() -> None:
    never = AccuracyCurve(np.array([1.0, 2.0]), np.array([0.5, 0.4]), np.full(2, np.inf))
    ((image, caption),) = accuracy_section({"surrogate": never}, 0.0).figures
    assert image.startswith(b"\x89PNG") and "surrogate never" in caption
