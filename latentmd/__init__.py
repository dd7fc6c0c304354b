"""Surrogate molecular dynamics inside the engines people already use.

Example:
    >>> import latentmd
    >>> "simulate" in dir(latentmd)
    True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentmd.integrators import LatentIntegrator as LatentIntegrator
    from latentmd.model.file import BundleError as BundleError
    from latentmd.model.propagator import Propagator as Propagator
    from latentmd.sampling.rollout.md import md as md
    from latentmd.sampling.rollout.simulate import load as load
    from latentmd.sampling.rollout.simulate import simulate as simulate
    from latentmd.systems.builder import build as build
    from latentmd.training.train import train as train

_HOMES = {
    "BundleError": "latentmd.model.file",
    "LatentIntegrator": "latentmd.integrators",
    "Propagator": "latentmd.model.propagator",
    "build": "latentmd.systems.builder",
    "load": "latentmd.sampling.rollout.simulate",
    "md": "latentmd.sampling.rollout.md",
    "simulate": "latentmd.sampling.rollout.simulate",
    "train": "latentmd.training.train",
}

__all__ = [
    "BundleError",
    "LatentIntegrator",
    "Propagator",
    "build",
    "load",
    "md",
    "simulate",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("latentmd")
    if name not in _HOMES:
        raise AttributeError(f"module 'latentmd' has no attribute {name!r}; expected one of {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
