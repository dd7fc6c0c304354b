"""The propagator against a surrogate whose every answer is known, and the surrogate against itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentmd.core.noise import CounterNoise, noise_generator
from latentmd.model.manifest import split_time
from latentmd.model.propagator import Propagator, UnsoundError


@pytest.fixture(scope="module")
def propagator(ou_bundle: Path) -> Propagator:
    return Propagator(ou_bundle, device="cpu")


@pytest.fixture(scope="module")
def start(alanine: Any) -> Any:
    return np.asarray(alanine.positions._value)


def test_split_time_takes_the_fewest_steps() -> None:
    assert split_time(50.0, (5.0, 50.0)) == (1, 50.0)
    assert split_time(50.000001, (5.0, 50.0)) == (1, 50.0)
    assert split_time(120.0, (5.0, 50.0)) == (3, 40.0)
    assert split_time(100.0, (50.0, 50.0)) == (2, 50.0)


@pytest.mark.parametrize("time", [0.0, -1.0, 4.9, float("nan"), float("inf")])
def test_split_time_refuses(time: float) -> None:
    with pytest.raises(ValueError, match="its lags are 5 to 50 ps"):
        split_time(time, (5.0, 50.0))
    with pytest.raises(ValueError, match="its lags are 50 to 50 ps"):
        split_time(75.0, (50.0, 50.0))


def test_decoding_returns_the_encoded_torsions(propagator: Propagator, start: Any) -> None:
    slow = torch.tensor([[[0.7, -1.1]], [[-2.0, 3.0]]])
    positions = propagator.decode(slow, noise_generator(0))
    torch.testing.assert_close(propagator.encode(positions), slow, atol=2e-5, rtol=0)
    assert all(passed.all() for name, passed in propagator.checks(positions).items() if name != "clashes")


def test_a_rollout_has_the_process_s_variance_and_autocorrelation(propagator: Propagator) -> None:
    walkers, lag = 4000, 25.0
    slow = torch.zeros(walkers, 1, 2)
    frames = propagator.rollout(slow, lag, 40, noise_generator(1), every=2).numpy()[:, :, 0]
    assert frames.shape == (20, walkers, 2)
    late = frames[10:]
    # Standard errors: variance sqrt(2/n), correlation (1-r^2)/sqrt(n), n >= 8000 values; four of them.
    assert late[-1].var() == pytest.approx(0.25, rel=4 * (2 / 8000) ** 0.5)
    correlation = np.mean(late[-2] * late[-1]) / np.mean(late**2)
    assert correlation == pytest.approx(np.exp(-2 * lag / 50.0), abs=4 / 8000**0.5)


def test_the_mean_of_a_step_is_the_deterministic_step(propagator: Propagator) -> None:
    slow = torch.full((20000, 1, 2), 1.0)
    lag = torch.full((20000,), 20.0)
    mean = propagator.rollout(slow, 20.0, 1, noise_generator(3))[0].mean(0)
    expected = propagator.module.mean_step(slow, lag)[0]
    torch.testing.assert_close(mean, expected, atol=4 * 0.5 / 20000**0.5, rtol=0)


def test_a_proposal_stays_where_it_was(propagator: Propagator, start: Any) -> None:
    masses = np.arange(1.0, 23.0)
    moved = start + np.array([100.0, -50.0, 3.0])
    proposal = propagator.propose(moved, 100.0, noise_generator(0), masses)
    assert proposal.shape == (22, 3) and proposal.dtype == np.float64
    np.testing.assert_allclose(masses @ proposal, masses @ moved, atol=1e-6 * masses.sum())
    unmoved = propagator.propose(start, 100.0, noise_generator(0), masses)
    np.testing.assert_allclose(proposal - [100, -50, 3], unmoved, atol=1e-4)


def test_equal_noise_gives_equal_proposals_and_a_batch_is_its_members(propagator: Propagator, start: Any) -> None:
    one = propagator.propose(start, 50.0, noise_generator(1, 2, 3))
    assert np.array_equal(one, propagator.propose(start, 50.0, noise_generator(1, 2, 3)))
    assert not np.array_equal(one, propagator.propose(start, 50.0, noise_generator(1, 2, 4)))
    assert propagator.propose(np.stack([start, start]), 50.0, noise_generator(0)).shape == (2, 22, 3)


def test_forces_are_the_gradient_of_the_energy(propagator: Propagator, start: Any) -> None:
    rng = np.random.default_rng(0)
    x = (start + 0.003 * rng.standard_normal(start.shape))[None]
    energy, forces = propagator.energy_and_forces(x)
    direction = rng.standard_normal(start.shape)
    h = 1e-4
    numeric = (propagator.energies(x + h * direction) - propagator.energies(x - h * direction)) / (2 * h)
    assert energy.shape == (1,) and forces.shape == (1, 22, 3)
    np.testing.assert_allclose(numeric[0], -np.sum(forces[0] * direction), rtol=1e-2)
    np.testing.assert_allclose(propagator.energies(x), energy)


def test_checks_find_each_fault(propagator: Propagator, start: Any) -> None:
    broken, mirrored, infinite, clashing = (start.copy() for _ in range(4))
    broken[0] += 0.1
    mirrored[:, 0] *= -1
    infinite[3] = np.nan
    clashing[12] = clashing[1]
    results = propagator.checks(np.stack([start, broken, mirrored, infinite, clashing]))
    assert results["finite"].tolist() == [True, True, True, False, True]
    assert results["bonds"].tolist()[:4] == [True, False, True, False]
    assert results["chirality"].tolist()[:4] == [True, True, False, False]


def test_a_start_of_another_isomer_is_refused(propagator: Propagator, start: Any) -> None:
    """The model would turn a mirror image, or a cis amide, over with its first structure."""
    names = {(a.residue.name, a.name): a.index for a in propagator.manifest.molecule()[0].atoms()}
    c, n = start[names["ALA", "C"]], start[names["NME", "N"]]
    axis, cis = (n - c) / np.linalg.norm(n - c), start.copy()
    behind = [i for (residue, _), i in names.items() if residue == "NME"]
    cis[behind] = c + 2 * np.outer((start[behind] - c) @ axis, axis) - (start[behind] - c)
    for x, why in ((cis, "amide bond of NME3-N turned by half"), (-start, "the mirror image")):
        with pytest.raises(UnsoundError, match=why):
            propagator.sound_step(x, 50.0, lambda draw: noise_generator(0, step=draw))


def test_bad_input_is_named(propagator: Propagator, start: Any) -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 21, 3\); expected \(frames, 22, 3\)"):
        propagator.energies(start[None, :21])
    with pytest.raises(ValueError, match="lag is 70 ps; expected 5 to 50 ps"):
        propagator.rollout(torch.zeros(1, 1, 2), 70.0, 1, noise_generator(0))


def test_noise_streams_are_independent_and_repeatable() -> None:
    keys = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    draws = np.stack([noise_generator(*key).standard_normal(4000) for key in keys])
    assert np.array_equal(draws[3], noise_generator(0, 0, 1, 0).standard_normal(4000))
    off_diagonal = np.corrcoef(draws)[np.triu_indices(5, 1)]
    assert np.max(np.abs(off_diagonal)) < 4 / 4000**0.5


def test_counter_noise_is_normal() -> None:
    source = CounterNoise(3, 1, 4, 1)
    drawn = np.concatenate([source.standard_normal((100, 7)).ravel() for _ in range(60)])
    assert drawn.mean() == pytest.approx(0, abs=4 / 42000**0.5)
    assert drawn.var() == pytest.approx(1, abs=4 * (2 / 42000) ** 0.5)
    assert np.mean(drawn**4) == pytest.approx(3, abs=4 * (96 / 42000) ** 0.5)
    assert np.corrcoef(drawn[:-1], drawn[1:])[0, 1] == pytest.approx(0, abs=4 / 42000**0.5)
    again = CounterNoise(3, 1, 4, 1).standard_normal((100, 7), dtype=np.float32)
    assert again.dtype == np.float32 and np.array_equal(again, drawn[:700].reshape(100, 7).astype(np.float32))


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, ou_bundle: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device is 'cuda', but torch sees no CUDA device; use 'auto' or 'cpu'"):
        Propagator(ou_bundle, "cuda")
    with pytest.raises(ValueError, match="device is 'gpu'; expected 'auto', 'cpu' or 'cuda'"):
        Propagator(ou_bundle, "gpu")
