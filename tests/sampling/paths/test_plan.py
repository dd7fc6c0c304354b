"""Plans of paths: times that fit, ends that are there, and a guide whose probabilities are those of the chain."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from latentmd.sampling.paths.moves import steps_of
from latentmd.sampling.paths.plan import _structure, listed, make_plan

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def test_the_guide_ends_in_the_cells_of_the_end(path_plan: Any) -> None:
    chain, bridge = path_plan.chain, path_plan.bridge
    assert (np.flatnonzero(bridge.h[-1]) == chain.members(2)).all()
    assert len(bridge.h) == 3 * path_plan.every + 1 and path_plan.lag * path_plan.every == pytest.approx(20.0)
    start = chain.members(0)
    forward = np.where(chain.states == 0, chain.stationary, 0.0) / chain.stationary[start].sum()
    for _ in range(path_plan.guide.steps):
        forward = forward @ path_plan.guide.matrix
    assert np.exp(path_plan.log_reach) == pytest.approx(forward[chain.members(2)].sum(), rel=1e-6)


def test_states_are_listed_with_where_they_lie(path_plan: Any) -> None:
    lines = listed(path_plan.chain, path_plan.labels).splitlines()
    assert len(lines) == len(path_plan.chain.populations) and all("°" in line for line in lines)
    shares = [float(line.split(":")[1].split("%")[0]) for line in lines]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"count": 0}, "--count is 0"),
        ({"time": 50.0}, "expected a multiple of --every, 20 ps: try 40 ps"),
        ({"interval": 3.0}, "the model's steps are 10 ps to 200 ps"),
        ({"target": 1}, "--from and --to are both state 1"),
        ({"origin": None}, "--from is missing"),
        ({"pdbs": (ALANINE,)}, "leave out --from"),
        ({"pdbs": (ALANINE,) * 3}, "3 PDB files"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(path_plan: Any, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make_plan(dataclasses.replace(path_plan.request, **change))


def test_equal_requests_share_a_record_and_others_do_not(path_plan: Any) -> None:
    request = dataclasses.replace(path_plan.request, seed=6)
    assert path_plan.record() == path_plan.record()
    assert dataclasses.replace(path_plan, request=request).record() != path_plan.record()


def test_without_a_density_the_end_is_the_cell_of_b(path_plan: Any, propagator: Any) -> None:
    x, steps = path_plan.subject.reference, steps_of(propagator, None, 20.0)
    for mixture, name in ((propagator.mixture, "B"), (None, "the cell of B")):
        model = SimpleNamespace(encode=propagator.encode, mixture=mixture, has_density=False)
        subject: Any = SimpleNamespace(structures=(x, x), propagator=lambda model=model: model)
        first, last = (_structure(subject, steps, path_plan.chain, place) for place in (0, 1))
        assert (first.name, last.name) == ("A", name) and (last.point is None) == (mixture is None)
        assert first.cells.tolist() == last.cells.tolist()
