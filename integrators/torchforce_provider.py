"""The latent force through openmm-torch's TorchForce: no Python in the step, the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openmm

from latentmd.bundle import script
from latentmd.integrators.openmm_provider import PARAMETERS, LatentProvider
from latentmd.integrators.openmm_selection import Selection
from latentmd.integrators.torchforce_module import FreeLatentForce, LatentForce, PeriodicLatentForce

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
        propagator.template,
        propagator.lag_range,
        propagator.manifest.dtype == "float64",
    )
    wrapper = PeriodicLatentForce(force) if provider.selection.periodic else FreeLatentForce(force)
    return script(wrapper.eval())


def torch_force(source: str | Path, selection: Selection) -> tuple[LatentProvider, openmm.Force]:
    """The provider (for reporters) and a TorchForce with outputs of forces and the integrator's parameters.

    Raises:
        ImportError: the plug-in is not installed, or does not fit this torch.
    """
    try:
        from openmmtorch import TorchForce
    except ImportError as error:
        raise ImportError(f"{_HINT} ({error})") from error
    provider = LatentProvider(source, selection, "cpu")
    force = TorchForce(latent_force_module(provider))
    force.setOutputsForces(True)
    force.setUsesPeriodicBoundaryConditions(selection.periodic)
    for name in PARAMETERS:
        force.addGlobalParameter(name, 0.0)
    return provider, force
