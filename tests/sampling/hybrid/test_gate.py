"""The trust gate."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.sampling.hybrid.gate import ACCEPTED, Gate, calibrate, conformal_quantile


def _gate(ensemble: bool = False) -> Gate:
    rng = np.random.default_rng(0)
    latents = [rng.standard_normal((50, 2)) * [1.0, 100.0] for _ in range(40)]
    energies = [rng.normal(-10, 1, 50) for _ in range(40)]
    return calibrate(latents, lambda z: np.abs(z[:, 0]) if ensemble else None, energies, rng)


def test_conformal_quantile_covers_new_scores() -> None:
    """At least 90 % of new draws stay under a limit learned from 99, on average over many repetitions."""
    rng = np.random.default_rng(0)
    covered = [
        np.mean(rng.exponential(size=200) <= conformal_quantile(rng.exponential(size=99), 0.9)) for _ in range(300)
    ]
    assert 0.89 < np.mean(covered) < 0.92
    assert conformal_quantile(np.ones(5), 0.99) == np.inf, "five scores cannot say"


def test_real_frames_pass_and_distant_ones_do_not() -> None:
    gate, rng = _gate(), np.random.default_rng(1)
    like = rng.standard_normal((1000, 2)) * [1.0, 100.0]
    verdicts = gate.screen(like, None, {})
    assert 0.97 < np.mean([v == ACCEPTED for v in verdicts]) <= 1
    assert gate.screen(np.array([[9.0, 0.0], [0.0, 900.0], [np.nan, 0.0]]), None, {}) == ["distance"] * 3


def test_each_reason_is_named() -> None:
    gate = _gate(ensemble=True)
    latents = np.zeros((4, 2))
    checks = {"chirality": np.array([True, False, True, False]), "clashes": np.array([True, True, False, False])}
    assert gate.screen(latents, np.zeros(4), checks) == [ACCEPTED, "chirality", "clashes", "chirality"]
    assert gate.screen(latents[:1], np.array([50.0]), {}) == ["disagreement"]
    assert gate.screen(latents[:1], np.array([np.nan]), {}) == ["disagreement"]


@pytest.mark.parametrize(
    ("energy", "reason"), [(-10.0, ACCEPTED), (0.0, "energy"), (-20.0, "energy"), (np.nan, "energy")]
)
def test_energies_outside_the_range_of_md_are_rejected(energy: float, reason: str) -> None:
    assert _gate().energy(energy) == reason


def test_too_little_data_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two bursts"):
        calibrate([np.zeros((5, 2))], lambda z: None, [np.zeros(5)], np.random.default_rng(0))
    broken = [np.full((5, 2), np.nan)] * 3
    with pytest.raises(ValueError, match="no latent of the real frames is finite"):
        calibrate(broken, lambda z: None, [np.zeros(5)] * 3, np.random.default_rng(0))
