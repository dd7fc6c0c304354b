"""Choice of the OpenMM platform by a short timing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import openmm

from latentmd.systems.errors import MoleculeError

if TYPE_CHECKING:
    from latentmd.systems.molecule import Molecule

_TIMING_SECONDS = 0.15  # per platform, enough to tell them apart
_PREFERENCE = ("CUDA", "HIP", "OpenCL", "Reference", "CPU")


def platforms(names: Sequence[str] = _PREFERENCE) -> list[str]:
    """Names of the OpenMM platforms of this machine, in the order of preference when equally fast."""
    present = {openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())}
    return [name for name in names if name in present]


def time_platform(molecule: Molecule, name: str, seconds: float = _TIMING_SECONDS, threads: int | None = None) -> float:
    """Plain MD steps per second of wall time on one platform; 0.0 where it cannot be simulated there.

    Args:
        molecule: what to simulate.
        name: of the platform.
        seconds: how long to measure.
        threads: threads of the CPU platform.
    """
    try:
        context = molecule.context(molecule.langevin(1), name, threads)
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=20)
        context.getIntegrator().step(5)
        steps, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            context.getIntegrator().step(10)
            context.getState()  # waits for asynchronous platforms
            steps += 10
    except openmm.OpenMMException:
        return 0.0
    return steps / elapsed


def platform_rates(molecule: Molecule, threads: int | None = None) -> dict[str, float]:
    """Steps per second of wall time on every platform of this machine, by a timing of a fraction of a second each.

    Raises:
        MoleculeError: no platform can simulate it.
    """
    rates = {name: time_platform(molecule, name, threads=threads) for name in platforms()}
    if not any(rates.values()):
        raise MoleculeError("MD fails from this structure on every platform: atoms are too close, or bonds strained")
    return rates


def fastest_platform(molecule: Molecule, threads: int | None = None) -> str:
    """The platform with most steps per second for this molecule."""
    rates = platform_rates(molecule, threads)
    return max(rates, key=lambda name: rates[name])
