"""The latent force through openmm-torch's TorchForce: no Python in the step, the same numbers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm

from latentmd.integrators.openmm_provider import FAILURE, LOST_TEXT, PARAMETERS, Answer, LatentProvider, answering
from latentmd.integrators.openmm_selection import Selection
from latentmd.integrators.torchforce_module import FAILURES, FreeLatentForce, LatentForce
from latentmd.model.file import quiet_torchscript, script

_HINT = (
    "provider='torchforce' needs the openmm-torch plug-in: install latentmd[torchforce-cpu] (or -cu12, -cu13) in an "
    "environment with torch below 2.13, or use provider='python'"
)


def latent_force_module(provider: LatentProvider) -> Any:
    """The scripted module that answers as `provider` does; forward(positions[, box], *PARAMETERS)."""
    propagator = provider.propagator
    force = LatentForce(
        propagator.module.to("cpu"),
        provider.selection,
        propagator.molecule(),
        propagator.template,
        lag=propagator.lag_range,
        double=propagator.manifest.dtype == "float64",
    )
    return script((force if provider.selection.periodic else FreeLatentForce(force)).eval())


class FailureReport:
    """PythonForce that raises the failures of a TorchForce, where an exception could end the process.

    The integrator sets FAILURE to the index of the failure, asks, sets it back to 0 and asks again; only the second
    call raises, so that no parameter stays set.
    """

    def __init__(self) -> None:
        self._codes: dict[int, int] = {}
        self._zero = np.zeros((1, 3))

    @property
    def __call__(self) -> Callable[[openmm.State], Answer]:
        """Takes the State, returns no energy and no force; see `LatentProvider.__call__`."""
        return answering(self)

    def respond(self, state: openmm.State) -> Answer | str:
        """Nothing, or the text of the failure to raise."""
        code = int(state.getParameters()[FAILURE])
        if code:
            self._codes[threading.get_ident()] = code
        elif self._codes and (noted := self._codes.pop(threading.get_ident(), 0)):
            return f"latent step failed: {FAILURES[noted] if 0 < noted < len(FAILURES) else LOST_TEXT}"
        return 0.0, self._zero

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return FailureReport, ()


def failure_force(selection: Selection) -> openmm.PythonForce:
    """The force, on one particle and always zero, that raises the failures of a TorchForce."""
    force = openmm.PythonForce(FailureReport(), {FAILURE: 0.0})
    force.setParticles([0])
    force.setUsesPeriodicBoundaryConditions(selection.periodic)
    return force


def torch_force(source: str | Path, selection: Selection) -> tuple[LatentProvider, openmm.Force]:
    """The provider (for reporters) and a TorchForce with outputs of forces and the integrator's parameters."""
    try:
        from openmmtorch import TorchForce
    except ImportError as error:
        raise ImportError(f"{_HINT} ({error})") from error
    provider = LatentProvider(source, selection, "cpu")
    with quiet_torchscript():
        force = TorchForce(latent_force_module(provider))
    force.setOutputsForces(True)
    force.setUsesPeriodicBoundaryConditions(selection.periodic)
    for name in PARAMETERS:
        force.addGlobalParameter(name, 0.0)
    return provider, force
