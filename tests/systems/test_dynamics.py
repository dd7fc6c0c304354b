"""Plain MD: seeds, times and temperature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.core.noise import child_seed
from latentmd.systems.dynamics import MdSettings, advance, run_md
from latentmd.units import thermal_energy


def frames(molecule: Any, **options: Any) -> Any:
    return next(run_md(molecule, MdSettings(3, 0.1, platform="Reference", **options)))


def test_the_seed_decides_everything(alanine: Any) -> None:
    first, again = frames(alanine, seed=1), frames(alanine, seed=1)
    assert np.array_equal(first.positions, again.positions)
    assert not np.array_equal(first.positions, frames(alanine, seed=1, walker=1).positions)
    assert not np.array_equal(first.positions, frames(alanine, seed=2).positions)


def test_times_and_shapes_over_chunks(alanine: Any) -> None:
    blocks = list(run_md(alanine, MdSettings(5, 0.02, seed=3, platform="Reference", chunk=2)))
    assert [len(b.times) for b in blocks] == [2, 2, 1]
    assert np.allclose(np.concatenate([b.times for b in blocks]), 0.02 * np.arange(1, 6))
    assert blocks[0].positions.shape == (2, 22, 3) and blocks[0].positions.dtype == np.float32


def test_interval_must_be_a_multiple_of_the_step(alanine: Any) -> None:
    with pytest.raises(ValueError, match="not a multiple of the time step"):
        next(run_md(alanine, MdSettings(1, 0.005, seed=0, platform="Reference")))


def test_walker_seeds_differ() -> None:
    seeds = {child_seed(seed, walker, stream) for seed in range(5) for walker in range(20) for stream in range(3)}
    assert len(seeds) == 300


def test_kinetic_energy_is_that_of_the_temperature(alanine: Any) -> None:
    """Mean of 200 samples 0.2 ps apart within four standard errors of (3N - constraints) RT / 2."""
    context = alanine.context(alanine.langevin(4), "Reference")
    context.setVelocitiesToTemperature(350.0, 1)
    context.getIntegrator().step(2500)
    kinetic = []
    for _ in range(200):
        context.getIntegrator().step(50)
        kinetic.append(context.getState(energy=True).getKineticEnergy()._value)
    expected = (3 * 22 - alanine.system.getNumConstraints()) * thermal_energy(350.0) / 2
    # correlated over about 1 ps: 40 independent samples
    assert abs(np.mean(kinetic) - expected) < 4 * np.std(kinetic) / np.sqrt(40) + 0.01 * expected


def test_steps_are_made_in_slices_until_it_is_stopped() -> None:
    made: list[int] = []
    assert advance(made.append, 1234, lambda: False)
    assert sum(made) == 1234 and made[0] == 10 and len(made) > 3
    assert not advance(made.append, 1234, lambda: len(made) > 9)
    assert sum(made) < 2468


def test_a_stopped_walker_yields_whole_frames(alanine: Any) -> None:
    looks: list[int] = []

    def stopped() -> bool:  # in the third frame, whose slices are of 10 and more steps
        looks.append(1)
        return len(looks) > 6

    settings = MdSettings(5, 0.1, seed=3, platform="Reference", equilibration=0.08)
    whole = next(run_md(alanine, settings))
    (part,) = run_md(alanine, settings, stopped=stopped)
    assert len(part.times) == len(part.energies) == 2 and part.end is None
    assert np.array_equal(part.positions, whole.positions[:2])
    assert not list(run_md(alanine, settings, stopped=lambda: True))
