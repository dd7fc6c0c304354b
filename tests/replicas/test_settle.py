"""Settling: strained structures end among MD's energies, each by itself; energies of MD from a short run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.molecule.checks import check_frames, structure_template
from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.library import library
from latentmd.replicas.settle import EnergyRange, measured_range, settle

KERNEL = pytest.mark.skipif(library() is None, reason="the kernel is not installed: there was no C++ compiler")
CONDITIONS: dict[str, Any] = {"temperature": 350.0, "timestep": 0.004}


@pytest.fixture(scope="module")
def dynamics(alanine: Any) -> tuple[np.ndarray, np.ndarray]:
    """Positions (frames, atoms, 3) and energies (frames,) of plain MD."""
    start = np.repeat(np.asarray(alanine.positions._value)[None], 64, axis=0)
    engine = ReplicaEngine(alanine.system, start, temperature=350.0, seed=1, threads=1)
    engine.draw_velocities()
    frames, energies = [], []
    for _ in range(40):
        engine.langevin(125, timestep=0.004, friction=1.0)
        frames.append(engine.positions)
        energies.append(engine.energies())
    return np.concatenate(frames[10:]), np.concatenate(energies[10:])


def test_the_range_is_that_of_the_quantiles() -> None:
    energies = np.random.default_rng(0).gamma(40.0, 4.0, 1_000_000)  # skewed, as energies are
    found = EnergyRange.of(energies, "a test")
    np.testing.assert_allclose(
        [found.low, found.median, found.high], np.quantile(energies, [0.001, 0.5, 0.999]), rtol=0.01
    )
    asked = np.array([found.low - 1, found.median, found.high + 1, 3 * found.high, np.nan])
    assert found.above(asked).tolist() == [False, False, True, True, True]
    assert found.below(asked).tolist() == [True, False, False, False, False]
    assert found.far(asked).tolist() == [False, False, False, True, True]


@KERNEL
def test_strained_structures_end_where_md_is(alanine: Any, dynamics: tuple[np.ndarray, np.ndarray]) -> None:
    frames, energies = dynamics
    found = EnergyRange.of(energies, "MD")
    strained = frames[::8] + np.random.default_rng(0).normal(0, 0.008, frames[::8].shape)
    before = ReplicaEngine(alanine.system, strained, threads=1).energies()
    assert found.far(before).mean() > 0.5
    settled, after = settle(alanine.system, strained, energies=found, seeds=range(len(strained)), **CONDITIONS)
    assert np.mean(found.above(after) | found.below(after)) < 0.02
    assert abs(np.median(after) - found.median) < 4 * 1.25 * energies.std() / len(after) ** 0.5
    template = structure_template(alanine.topology, np.asarray(alanine.positions._value))
    assert all(passed.all() for passed in check_frames(settled, template).values())
    alone, energy = settle(alanine.system, strained[7:8], energies=found, seeds=[7], **CONDITIONS)
    assert np.array_equal(alone[0], settled[7]) and energy[0] == after[7]


@KERNEL
def test_a_short_run_measures_the_range(alanine: Any, dynamics: tuple[np.ndarray, np.ndarray]) -> None:
    frames, energies = dynamics
    found, known = measured_range(alanine.system, frames[-64:], seed=2, **CONDITIONS), EnergyRange.of(energies, "MD")
    assert "64 structures, 4 ps each" in found.source
    np.testing.assert_allclose([found.low, found.median, found.high], [known.low, known.median, known.high], atol=6.0)


def test_settling_without_the_kernel(alanine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentmd.replicas.choice.library", lambda: None)
    strained = np.asarray(alanine.positions._value)[None] + np.random.default_rng(0).normal(0, 0.01, (2, 22, 3))
    found = EnergyRange(-115.0, -73.0, -20.0)
    _, energies = settle(alanine.system, strained, energies=found, seeds=[1, 2], **CONDITIONS)
    assert not found.far(energies).any()
