"""Engine adapters: OpenMM and ASE. They convert units and call the propagator; importing this imports no engine."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "LatentIntegrator": "openmm_integrator",
    "LatentReporter": "reporter",
    "TimedXTCReporter": "reporter",
    "alternate": "schedule",
    "LatentCalculator": "ase_calculator",
    "LatentDynamics": "ase_dynamics",
    "JumpReport": "torsion_jumps",
    "TorsionBias": "torsion_bias",
    "TorsionJumps": "torsion_jumps",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; expected one of {', '.join(_HOMES)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
