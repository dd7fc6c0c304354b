"""The latent force through openmm-torch: without the plug-in a hint, with it the trajectory of the Python provider."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.integrators import LatentIntegrator
from latentmd.integrators.openmm_provider import FAILURE, LatentStepError
from latentmd.integrators.openmm_seat import FailureReport
from latentmd.integrators.torchforce_module import FAILURES


def _state(code: int) -> Any:
    return SimpleNamespace(getParameters=lambda: {FAILURE: float(code)})


def test_a_failure_is_raised_once_the_parameter_is_reset() -> None:
    """The call that sees the code is quiet; the next one, when nothing in the Context is set any more, raises."""
    report = pickle.loads(pickle.dumps(FailureReport()))
    assert report(_state(2))[0] == 0.0
    with pytest.raises(LatentStepError, match="latent step failed") as raised:
        report(_state(0))
    assert FAILURES[2] in str(raised.value)
    energy, force = report(_state(0))
    assert energy == 0.0 and not force.any()


def test_without_the_plug_in_the_hint_names_the_extra(
    alanine: Any, ou_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openmmtorch", None)
    with pytest.raises(ImportError, match=r"install latentmd\[torchforce-cpu\]"):
        LatentIntegrator(
            350, ou_bundle, 50, system=copy.deepcopy(alanine.system), topology=alanine.topology, provider="torchforce"
        )


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_both_providers_make_the_same_trajectory(alanine: Any, ou_bundle: Path, platform: str) -> None:
    pytest.importorskip("openmmtorch")
    ends = {}
    for kind in ("python", "torchforce"):
        system = copy.deepcopy(alanine.system)
        latent = LatentIntegrator(
            350, ou_bundle, 100, system=system, topology=alanine.topology, seed=2**31 - 1, provider=kind
        )
        context = openmm.Context(system, latent, openmm.Platform.getPlatformByName(platform))
        context.setPositions(alanine.positions)
        latent.step(5)
        state = context.getState(positions=True, velocities=True, forces=True)
        ends[kind] = [np.array(values._value) for values in (
            state.getPositions(asNumpy=True), state.getVelocities(asNumpy=True), state.getForces(asNumpy=True)
        )]  # fmt: skip
    np.testing.assert_allclose(ends["torchforce"][0], ends["python"][0], atol=1e-5)
    np.testing.assert_allclose(ends["torchforce"][1], ends["python"][1], atol=1e-3)


def test_a_fault_in_torchforce_leaves_the_state(alanine: Any, ou_bundle: Path) -> None:
    pytest.importorskip("openmmtorch")
    system = copy.deepcopy(alanine.system)
    latent = LatentIntegrator(350, ou_bundle, 50, system=system, topology=alanine.topology, provider="torchforce")
    context = openmm.Context(system, latent, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(alanine.positions)
    latent.step(1)
    before = context.getState(positions=True).getPositions(asNumpy=True)._value
    openmm.CustomIntegrator.setStepSize(latent, 0.01)
    with pytest.raises(openmm.OpenMMException, match="cannot make a step of this size"):
        latent.step(1)
    assert context.getParameter("latentmd_mode") == 0
    np.testing.assert_array_equal(context.getState(positions=True).getPositions(asNumpy=True)._value, before)
    latent.setStepSize(50, context)
    latent.step(1)
