"""Moves between cells: means of a mixture's weights, counts of a model without cells, and the fitted partition."""

from __future__ import annotations

import math
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.sampling.paths.moves import (
    FreeMoves,
    MixtureMoves,
    bridge_to,
    check_reach,
    fit_partition,
    moves_of,
    own_cells,
)


class _TwoCells:
    """Arrives in cell 1 with the probability that z itself holds."""

    def lag(self, lag: Tensor) -> Tensor:
        return lag

    def log_weights(self, z: Tensor, g: Tensor) -> Tensor:
        p = z.flatten(1)
        return torch.cat([1 - p, p], dim=1).log()


def test_rows_of_a_mixture_are_means_over_the_points_of_a_cell() -> None:
    points = np.array([0.1, 0.3, 0.9], dtype=np.float32).reshape(3, 1, 1)
    matrix = MixtureMoves(_TwoCells()).matrix(points, np.array([0, 0, 1]), 1.0)
    assert matrix == pytest.approx(np.array([[0.8, 0.2], [0.1, 0.9]]), abs=1e-6)


def test_a_cell_without_points_keeps_its_walker() -> None:
    matrix = MixtureMoves(_TwoCells()).matrix(np.array([[[0.5]]], dtype=np.float32), np.array([0]), 1.0)
    assert matrix[1].tolist() == [0.0, 1.0]


class _Hopper:
    """Two wells at -1 and 1 on the first axis, changed with probability 0.1; the second axis is fast and wide."""

    manifest = SimpleNamespace(name="hopper")
    module = SimpleNamespace(step_noise=3)
    has_density = False

    def rollout(self, z: Tensor, lag: float, steps: int, rng: np.random.Generator) -> Tensor:
        frames = []
        for _ in range(steps):
            hop = torch.from_numpy(np.where(rng.random(len(z)) < 0.1, -1.0, 1.0))
            well = torch.sign(z[:, 0, 0]) * hop
            noise = torch.from_numpy(rng.normal(size=(len(z), 2)))
            z = torch.stack([well + 0.1 * noise[:, 0], 5 * noise[:, 1]], dim=1).float().unsqueeze(1)
            frames.append(z)
        return torch.stack(frames)


@pytest.fixture(scope="module")
def hopper() -> Any:
    model: Any = _Hopper()
    starts = torch.tensor([[[-1.0, 0.0]], [[1.0, 0.0]]]).repeat(150, 1, 1)
    return model, model.rollout(starts, 1.0, 12, np.random.default_rng(0)).numpy()


def test_a_partition_follows_the_slow_axis(hopper: Any) -> None:
    _, runs = hopper
    partition = pickle.loads(pickle.dumps(fit_partition(runs)))
    z = torch.from_numpy(runs.reshape(-1, 1, 2))
    well, cell = (z[:, 0, 0] > 0).numpy(), partition.cell(z).numpy()
    mixed = [0 < well[cell == k].mean() < 1 for k in np.unique(cell)]
    assert not any(mixed) and len(np.unique(cell)) > 10


def test_counts_of_a_model_without_cells_have_its_timescale(hopper: Any) -> None:
    model, runs = hopper
    moves = FreeMoves(model, fit_partition(runs))
    points = runs.reshape(-1, 1, 2)
    matrix = moves.matrix(points, moves.cell(torch.from_numpy(points)).numpy(), 1.0)
    assert matrix.sum(axis=1) == pytest.approx(1.0)
    second = np.sort(np.linalg.eigvals(matrix).real)[-2]
    assert second == pytest.approx(0.8, abs=0.03)  # 1 - 2 * 0.1
    assert not moves.to_points and math.isclose(np.linalg.eigvals(matrix).real.max(), 1.0, rel_tol=1e-9)


def test_a_model_moves_by_its_own_cells_or_by_a_partition(propagator: Any, hopper: Any) -> None:
    assert isinstance(moves_of(propagator, None), MixtureMoves) and own_cells(propagator) is not None
    model, runs = hopper
    assert isinstance(moves_of(model, fit_partition(runs)), FreeMoves)
    with pytest.raises(ValueError, match="the model hopper has no cells of its own"):
        moves_of(model, None)


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
    bridge = bridge_to(moves_of(propagator, None), chain, rare, 200.0, 1000)
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
