"""The chain of cells against what it must be for any model, and against the training data of the bundled one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from latentmd.sampling.paths.cells import bridge_to, check_reach
from latentmd.sampling.paths.moves import moves_of


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
