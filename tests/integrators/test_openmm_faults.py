"""A latent step that fails leaves the Context as it was, says why, and the next step works."""

from __future__ import annotations

import gc
import os
import re
import signal
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import pytest

Make = Callable[..., Any]
Snapshot = Callable[[Any], dict[str, Any]]


class UnprintableError(Exception):
    """OpenMM crashes on an exception whose text cannot be read."""

    def __str__(self) -> str:
        raise ValueError("no text")


def _raise(*_: Any) -> Any:
    ballast = np.zeros(100_000)
    raise ValueError(f"a fault in the model {ballast.shape}")


def _raise_unprintable(*_: Any) -> Any:
    raise UnprintableError


def _nan(x: Any, *_: Any) -> Any:
    return np.full_like(x, np.nan)


def _one_nan(x: Any, *_: Any) -> Any:
    y = x.copy()
    y[7, 1] = np.inf
    return y


def _wrong_shape(x: Any, *_: Any) -> Any:
    return x[:-1]


def _far(x: Any, *_: Any) -> Any:
    return 30.0 * x


FAULTS = {
    "raises": (_raise, "ValueError: a fault in the model"),
    "raises without text": (_raise_unprintable, "UnprintableError: .its text cannot be read"),
    "NaN": (_nan, "no sound structure in 10 draws .last failed: finite"),
    "one infinity": (_one_nan, "last failed: finite"),
    "wrong shape": (_wrong_shape, r"shape \(21, 3\); expected \(22, 3\)"),
    "exploded": (_far, "last failed: bonds"),
}


def _assert_same(after: dict[str, Any], before: dict[str, Any]) -> None:
    for name in ("x", "v", "f"):
        np.testing.assert_array_equal(after[name], before[name])
    for name in ("energy", "time", "steps"):
        assert after[name] == before[name]
    assert after["parameters"]["latentmd_mode"] == 0
    assert after["parameters"]["latentmd_step"] == before["parameters"]["latentmd_step"]


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
@pytest.mark.parametrize("fault", FAULTS)
def test_state_is_intact_after_a_fault(
    latent_simulation: Make, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, fault: str, platform: str
) -> None:
    function, message = FAULTS[fault]
    simulation, latent = latent_simulation(platform, seed=2)
    simulation.step(2)
    before = snapshot(simulation.context)
    with monkeypatch.context() as patch:
        patch.setattr(latent.provider.propagator, "propose", function)
        for _ in range(3):
            with pytest.raises(openmm.OpenMMException, match=message):
                simulation.step(1)
            _assert_same(snapshot(simulation.context), before)
    assert latent.provider.last_error is not None and latent.provider.last_error.__traceback__ is None
    simulation.step(3)
    undisturbed, _ = latent_simulation(platform, seed=2)
    undisturbed.step(5)
    # The CPU platform adds forces up in an order that depends on threads; the latent steps do not.
    np.testing.assert_allclose(snapshot(simulation.context)["x"], snapshot(undisturbed.context)["x"], atol=1e-12)


def _interrupt(*_: Any) -> Any:
    os.kill(os.getpid(), signal.SIGINT)
    return sum(range(10**6))  # the handler runs between two byte codes


@pytest.mark.parametrize("fault", ["raises", "NaN", "wrong shape", "SIGINT"])
def test_a_hundred_faults_at_random_steps_of_an_alternating_run(
    latent_simulation: Make, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    function, message = (_interrupt, "") if fault == "SIGINT" else FAULTS[fault]
    simulation, latent = latent_simulation(cycle=(2, 3))
    original, rng = latent.provider.propagator.propose, np.random.default_rng(0)
    faults = steps = 0

    def sometimes(*arguments: Any) -> Any:
        return (function if failing else original)(*arguments)

    monkeypatch.setattr(latent.provider.propagator, "propose", sometimes)
    while faults < 100:
        before, failing = snapshot(simulation.context), rng.random() < 0.7
        try:
            simulation.step(1)
            steps += 1
        except (openmm.OpenMMException, KeyboardInterrupt) as error:
            assert failing and isinstance(error, KeyboardInterrupt) == (fault == "SIGINT")
            assert re.search(message, str(error))
            _assert_same(snapshot(simulation.context), before)
            faults += 1
    failing = False
    simulation.step(5)
    assert simulation.currentStep == steps + 5


@pytest.mark.parametrize("cycle", [None, (2, 1)])
def test_ctrl_c_inside_the_model(
    latent_simulation: Make, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, cycle: Any
) -> None:
    simulation, latent = latent_simulation(cycle=cycle)
    simulation.step(2)
    before = snapshot(simulation.context)

    with monkeypatch.context() as patch:
        patch.setattr(latent.provider.propagator, "propose", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            simulation.step(1)
    _assert_same(snapshot(simulation.context), before)
    simulation.step(3)
    assert simulation.currentStep == 5


def test_a_step_size_outside_the_range_is_found_at_the_step(latent_simulation: Make, snapshot: Snapshot) -> None:
    simulation, latent = latent_simulation()
    before = snapshot(simulation.context)
    openmm.CustomIntegrator.setStepSize(latent, 0.01)  # as code does that does not know the subclass
    with pytest.raises(openmm.OpenMMException, match=r"cannot make a step of 0\.01 ps"):
        simulation.step(1)
    _assert_same(snapshot(simulation.context), before)


def test_positions_that_are_not_finite_are_named(latent_simulation: Make, snapshot: Snapshot) -> None:
    simulation, _ = latent_simulation()
    broken = snapshot(simulation.context)["x"]
    broken[0, 0] = np.nan
    simulation.context.setPositions(broken)
    with pytest.raises(openmm.OpenMMException, match="not finite; load an earlier state"):
        simulation.step(1)


def test_faults_leak_neither_memory_nor_the_model(latent_simulation: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    simulation, latent = latent_simulation()
    with monkeypatch.context() as patch:
        patch.setattr(latent.provider.propagator, "propose", _raise)
        for repeat in range(120):
            if repeat == 20:
                before = psutil.Process().memory_info().rss
            with pytest.raises(openmm.OpenMMException):
                simulation.step(1)
        assert psutil.Process().memory_info().rss - before < 10e6  # 100 leaked tracebacks would hold 80 MB
    reference = weakref.ref(latent.provider)
    del simulation, latent
    gc.collect()
    assert reference() is None
