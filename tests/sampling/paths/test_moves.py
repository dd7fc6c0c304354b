"""Moves between cells: means of a mixture's weights, counts of a model without cells, and the fitted partition."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.core.paths.steps import FreeSteps, MixtureSteps
from latentmd.sampling.paths.moves import bridge_to, check_reach, fit_partition, steps_of


class _Hopper:
    """Two wells at -1 and 1 on the first axis, changed with probability 0.1; the second axis is fast and wide."""

    step_noise = 3

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        hop = torch.where(noise[:, 0] < -1.2815516, -1.0, 1.0)
        well = torch.sign(z[:, 0, 0]) * hop
        return torch.stack([well + 0.1 * noise[:, 1], 5 * noise[:, 2]], dim=1).unsqueeze(1)


@pytest.fixture(scope="module")
def hopper() -> Any:
    model, generator, frames = _Hopper(), torch.Generator().manual_seed(0), []
    z = torch.tensor([[[-1.0, 0.0]], [[1.0, 0.0]]]).repeat(150, 1, 1)
    for _ in range(12):
        z = model.step(z, torch.ones(300), torch.randn(300, 3, generator=generator))
        frames.append(z)
    return SimpleNamespace(module=model, mixture=None, manifest=SimpleNamespace(name="hopper")), torch.stack(frames)


def test_a_partition_follows_the_slow_axis(hopper: Any) -> None:
    _, runs = hopper
    partition = pickle.loads(pickle.dumps(fit_partition(runs.numpy())))
    z = runs.reshape(-1, 1, 2)
    well, cell = (z[:, 0, 0] > 0).numpy(), partition.cell(z).numpy()
    mixed = [0 < well[cell == k].mean() < 1 for k in np.unique(cell)]
    assert not any(mixed) and len(np.unique(cell)) > 10


def test_counts_of_a_model_without_cells_have_its_timescale(hopper: Any) -> None:
    model, runs = hopper
    steps = steps_of(model, fit_partition(runs.numpy()), 1.0)
    points = runs.reshape(-1, 1, 2)
    matrix = steps.matrix(points, steps.cell(points).numpy())
    assert matrix.sum(axis=1) == pytest.approx(1.0)
    second = np.sort(np.linalg.eigvals(matrix).real)[-2]
    assert second == pytest.approx(0.8, abs=0.03)  # 1 - 2 * 0.1
    assert np.linalg.eigvals(matrix).real.max() == pytest.approx(1.0, rel=1e-9)


def test_a_model_moves_by_its_own_cells_or_by_a_partition(propagator: Any, hopper: Any) -> None:
    assert isinstance(steps_of(propagator, None, 10.0), MixtureSteps)
    model, runs = hopper
    assert isinstance(steps_of(model, fit_partition(runs.numpy()), 1.0), FreeSteps)
    with pytest.raises(ValueError, match="the model hopper has no cells of its own"):
        steps_of(model, None, 1.0)


def test_states_are_numbered_by_population_and_points_belong_to_them(chain: Any, propagator: Any) -> None:
    assert chain.populations.sum() == pytest.approx(1.0)
    assert (np.diff(chain.populations) <= 0).all() and len(chain.populations) >= 2
    assert chain.weight.sum() == pytest.approx(1.0)
    for state in range(len(chain.populations)):
        drawn = torch.from_numpy(chain.draw(state, 50, np.random.default_rng(state)))
        assert set(chain.states[propagator.module.predictor.cell(drawn).numpy()]) == {state}


def test_the_rarest_state_of_the_bundled_model_is_phi_above_zero(chain: Any, propagator: Any) -> None:
    from latentmd.molecule.checks import torsions

    rng = np.random.default_rng(0)
    rare = len(chain.populations) - 1
    decoded = propagator.decode(torch.from_numpy(chain.draw(rare, 100, rng)), rng)
    topology = propagator.manifest.molecule()[0]
    atoms = {(a.residue.name, a.name): a.index for a in topology.atoms()}
    phi = [atoms[k] for k in (("ACE", "C"), ("ALA", "N"), ("ALA", "CA"), ("ALA", "C"))]
    assert (torsions(decoded, np.array([phi])) > 0).mean() > 0.95
    assert 0.01 < chain.populations[rare] < 0.08  # 4 % in 600 ns of MD


def test_a_long_bridge_forgets_where_it_began(chain: Any, propagator: Any) -> None:
    rare = chain.members(len(chain.populations) - 1)
    bridge = bridge_to(steps_of(propagator, None, 200.0), chain, rare, 1000)
    share = chain.stationary[rare].sum()
    reached = [np.exp(bridge.log_reach(cell)) for cell in range(len(chain.stationary))]
    assert max(reached) == pytest.approx(min(reached), rel=1e-3)
    assert reached[0] == pytest.approx(share, rel=0.5)  # populations of the shortest lag and of 200 ps


def test_ends_that_are_not_connected_are_refused() -> None:
    check_reach(float(np.log(1e-3)), "A and B", "1 ns")
    with pytest.raises(ValueError, match=r"does not connect A and B in 10 ps.*longer --time"):
        check_reach(float(np.log(1e-9)), "A and B", "10 ps")
    with pytest.raises(ValueError, match="does not connect"):
        check_reach(float("-inf"), "A and B", "10 ps")
