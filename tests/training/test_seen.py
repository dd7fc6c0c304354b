"""What data can teach, of walks between two wells whose rates are known."""

from __future__ import annotations

import json
from typing import Any

import mdtraj
import numpy as np
import pytest
import torch

from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.training.seen import Seen, seen


def hops(topology: Any, positions: Any, runs: int, frames: int, rate: float) -> list[Any]:
    """Runs of the dipeptide whose phi hops between -80 and 60 degrees with a probability per frame."""
    coordinates = InternalCoordinates.from_topology(topology)
    bonds, angles, torsions = coordinates.to_internal(torch.from_numpy(positions).float().expand(frames, -1, -1))
    drivers, phi0 = coordinates.driver_index, mdtraj.compute_phi(mdtraj.Trajectory(positions, topology))[1][0, 0]
    column = int(drivers[torch.argmin((torsions[0, drivers] - float(phi0)).abs())])
    rng, made = np.random.default_rng(0), []
    for _ in range(runs):
        side = np.cumsum(rng.random(frames) < rate) % 2
        phi = np.deg2rad(np.where(side == 0, -80.0, 60.0) + 5.0 * rng.standard_normal(frames))
        turned = torsions.clone()
        turned[:, column] = torch.from_numpy(phi).float()
        made.append(coordinates.to_cartesian(bonds, angles, turned).numpy())
    return made


@pytest.fixture(scope="module")
def molecule(pdb: Any) -> Any:
    return mdtraj.load(str(pdb))


def test_rate_and_transitions_of_two_wells(molecule: Any) -> None:
    rate = 0.02
    runs = hops(molecule.topology, molecule.xyz, 4, 1500, rate)
    found = seen(runs, molecule.topology, 1.0, lag=5.0, temperature=300.0)
    assert found is not None and found.time == 6000.0
    assert found.transitions == pytest.approx(6000 * rate, rel=4 / np.sqrt(6000 * rate))
    low, high = found.timescale[1:]
    assert low < -1 / np.log(1 - 2 * rate) < high
    assert found.markov_error < 0.1 and found.populations[0] == pytest.approx(0.5, abs=0.15)
    assert found.in_runs[:2] == [4, 4]
    assert len(found.sentences()) == 1 and "slowest process seen" in found.sentences()[0]
    assert Seen.of(json.loads(json.dumps(found.record()))) == found


def test_too_little_is_told_with_what_would_be_enough(molecule: Any) -> None:
    runs = hops(molecule.topology, molecule.xyz, 2, 400, 0.005)
    found = seen(runs, molecule.topology, 1.0, lag=5.0, temperature=300.0)
    assert found is not None and 0 < found.transitions < 50
    assert any("would be enough" in sentence for sentence in found.sentences())


def test_states_of_one_run_and_steps_that_do_not_compose_are_told() -> None:
    found = Seen(
        time=1000.0,
        runs=3,
        lag=5.0,
        timescale=(float("nan"),) * 3,
        transitions=0,
        markov_error=0.3,
        populations=[0.7, 0.3],
        in_runs=[3, 1],
    )
    told = " ".join(found.sentences())
    assert "not resolved: 0 transitions" in told and "one run only (populations 30 %)" in told
    assert "not Markov at 5 ps" in told and found.record()["timescale"] == [None] * 3


def test_runs_that_are_too_short_for_the_lag_tell_nothing(molecule: Any) -> None:
    assert seen([molecule.xyz.repeat(8, axis=0)], molecule.topology, 1.0, lag=5.0, temperature=300.0) is None
