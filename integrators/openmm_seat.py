"""The latent force of a System: one that an earlier integrator added, or a new PythonForce or TorchForce."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import openmm

from latentmd.integrators import openmm_provider as keys
from latentmd.integrators.openmm_provider import Answer, LatentProvider, answering
from latentmd.integrators.openmm_selection import Selection
from latentmd.integrators.torchforce_module import FAILURES, FreeLatentForce, LatentForce
from latentmd.model.file import quiet_torchscript, script
from latentmd.model.peptide_file import model_sha256

FORCE_NAME = "LatentProposal"

#: Providers of the forces that this process made, by the kind and the address of the C++ object, which owns them.
_providers: WeakValueDictionary[tuple[str, int], LatentProvider] = WeakValueDictionary()


class Seat(NamedTuple):
    """Where an integrator finds its proposals: force groups of the latent force and of what raises its failures."""

    provider: LatentProvider
    group: int
    failure_group: int


def seat_of(system: openmm.System, kind: str, source: str | Path, selection: Selection, device: str) -> Seat:
    """The latent force of a model in a System: an earlier integrator's for the same atoms and model, or a new one."""
    if kind not in ("python", "torchforce"):
        raise ValueError(f"provider is {kind!r}; expected 'python' or 'torchforce'")
    device = device if kind == "python" else "cpu"
    wanted = (model_sha256(source), selection, device)
    for force in system.getForces():
        provider = _providers.get((kind, int(force.this)))
        if provider is not None and (provider.sha256, provider.selection, provider.device) == wanted:
            group = force.getForceGroup()
            break
    else:
        if kind == "torchforce" and selection.molecule:
            raise ValueError("TorchForce needs the file of a bound model: `latentmd bind MOLECULE.pdb --out bound.pt`")
        provider = LatentProvider(source, selection, device)
        force = (_python_force if kind == "python" else _torch_force)(provider, selection)
        _providers[kind, int(force.this)] = provider
        group = _add(system, force, FORCE_NAME)
    return Seat(provider, group, group if kind == "python" else _failure_group(system, selection))


def _python_force(provider: LatentProvider, selection: Selection) -> openmm.PythonForce:
    force = openmm.PythonForce(provider, dict.fromkeys((*keys.PARAMETERS, keys.WORD), 0.0))
    if selection.atoms != tuple(range(selection.n_particles)):
        force.setParticles(list(selection.atoms))
    force.setUsesPeriodicBoundaryConditions(selection.periodic)
    return force


def _torch_force(provider: LatentProvider, selection: Selection) -> openmm.Force:
    """A TorchForce with outputs of forces and the integrator's parameters: no Python in the step, the same numbers."""
    try:
        from openmmtorch import TorchForce
    except ImportError as error:
        raise ImportError(
            "provider='torchforce' needs the openmm-torch plug-in: install latentmd[torchforce-cpu] (or -cu12, -cu13) "
            f"in an environment with torch below 2.13, or use provider='python' ({error})"
        ) from error
    with quiet_torchscript():
        force = TorchForce(latent_force_module(provider))
    force.setOutputsForces(True)
    force.setUsesPeriodicBoundaryConditions(selection.periodic)
    for name in keys.PARAMETERS:
        force.addGlobalParameter(name, 0.0)
    return force


def latent_force_module(provider: LatentProvider) -> Any:
    """The scripted module that answers as `provider` does; forward(positions[, box], *keys.PARAMETERS)."""
    force = LatentForce(provider.propagator, provider.selection)
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
        code = int(state.getParameters()[keys.FAILURE])
        if code:
            self._codes[threading.get_ident()] = code
        elif self._codes and (noted := self._codes.pop(threading.get_ident(), 0)):
            return f"latent step failed: {FAILURES[noted] if 0 < noted < len(FAILURES) else keys.LOST_TEXT}"
        return 0.0, self._zero


def _failure_group(system: openmm.System, selection: Selection) -> int:
    """Group of the force that raises the failures of a System's TorchForces, added where it is missing."""
    name = f"{FORCE_NAME}Failure"
    for force in system.getForces():
        if force.getName() == name:
            return int(force.getForceGroup())
    force = openmm.PythonForce(FailureReport(), {keys.FAILURE: 0.0})  # on one particle, and always zero
    force.setParticles([0])
    force.setUsesPeriodicBoundaryConditions(selection.periodic)
    return _add(system, force, name)


def _add(system: openmm.System, force: openmm.Force, name: str) -> int:
    """Add a force in the highest free group; returns the group."""
    free = set(range(32)) - {other.getForceGroup() for other in system.getForces()}
    if not free:
        raise ValueError("all 32 force groups of the System are in use; free one for the latent force")
    force.setForceGroup(max(free))
    force.setName(name)
    system.addForce(force)
    return max(free)
