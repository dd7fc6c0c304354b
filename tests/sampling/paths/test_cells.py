"""The chain of cells against what it must be for any model, and against the training data of the bundled one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.sampling.paths.cells import bridge_to, cell_matrix, check_reach, predictor_of


class _TwoCells:
    """Arrives in cell 1 with the probability that z itself holds."""

    def lag(self, lag: Tensor) -> Tensor:
        return lag

    def log_weights(self, z: Tensor, g: Tensor) -> Tensor:
        p = z.flatten(1)
        return torch.cat([1 - p, p], dim=1).log()


def test_rows_are_means_over_the_points_of_a_cell() -> None:
    points = np.array([0.1, 0.3, 0.9], dtype=np.float32).reshape(3, 1, 1)
    matrix = cell_matrix(_TwoCells(), points, np.array([0, 0, 1]), 1.0)
    assert matrix == pytest.approx(np.array([[0.8, 0.2], [0.1, 0.9]]), abs=1e-6)


def test_a_cell_without_points_keeps_its_walker() -> None:
    matrix = cell_matrix(_TwoCells(), np.array([[[0.5]]], dtype=np.float32), np.array([0]), 1.0)
    assert matrix[1].tolist() == [0.0, 1.0]


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
    bridge = bridge_to(propagator.module.predictor, chain, rare, 200.0, 1000)
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


def test_a_model_without_cells_is_refused() -> None:
    with pytest.raises(ValueError, match=r"my\.pt has no cells"):
        predictor_of(SimpleNamespace(module=SimpleNamespace(predictor=object())), "my.pt")  # type: ignore[arg-type]
