"""Steps per second of many replicas on a GPU: `python gpu.py [--kernel | --platform CUDA] [--replicas 4096] [PDB ...]`.

With --kernel (the default) the CUDA kernel of latentmd, which needs CuPy; with --platform the copies merged into one
OpenMM System, and one copy alone beside them. Every row is one timing after a warm-up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from merged import MergedReplicas

from latentmd.replicas.cuda import CudaDevice, CudaReplicas
from latentmd.replicas.terms import read_terms
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled

NAMES = ("alanine_dipeptide", "met_enkephalin", "chignolin")


def kernel_rate(molecule: Any, replicas: int, options: list[str], steps: int) -> float:
    """Steps per second of all replicas together, with the CUDA kernel."""
    terms = read_terms(molecule.system)
    kernel, kelvin = CudaReplicas(terms, np.arange(replicas), CudaDevice(options)), np.array(300.0)
    x = np.repeat(np.asarray(molecule.positions._value)[None], replicas, axis=0)
    x, v = kernel.run(x, np.zeros(x.shape), kelvin, steps=200, timestep=0.001, friction=10.0)
    begin = time.perf_counter()
    kernel.run(x, v, kelvin, steps=steps, first=200, timestep=0.002, friction=1.0)
    return replicas * steps / (time.perf_counter() - begin)


def merged_rate(molecule: Any, copies: int, platform: str, steps: int) -> float:
    """Steps per second of all copies together in one OpenMM System; of the molecule alone for one copy."""
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.002)
    integrator.setRandomNumberSeed(1)
    start = np.asarray(molecule.positions._value)
    if copies == 1:
        context = openmm.Context(molecule.system, integrator, openmm.Platform.getPlatformByName(platform))
        context.setPositions(start)
    else:
        merged = MergedReplicas(molecule.system, copies, integrator=integrator, platform=platform)
        merged.set_positions(np.repeat(start[None], copies, axis=0))
        context = merged.context
    step: Callable[[int], None] = context.getIntegrator().step
    step(50)
    context.getState(energy=True)
    begin = time.perf_counter()
    step(steps)
    context.getState(energy=True)
    return copies * steps / (time.perf_counter() - begin)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pdb", nargs="*", type=Path)
    parser.add_argument("--platform", help="Of OpenMM, in place of the kernel.")
    parser.add_argument("--replicas", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--options", action="append", help="Of NVRTC; repeated. [default: -maxrregcount=80]")
    asked = parser.parse_args()
    options = asked.options or ["-maxrregcount=80"]
    for pdb in asked.pdb or [bundled(name) for name in NAMES]:
        molecule = build(pdb)
        atoms = molecule.system.getNumParticles()
        try:
            if asked.platform is None:
                rows = {f"kernel, {asked.replicas}": kernel_rate(molecule, asked.replicas, options, asked.steps)}
            else:
                counts = (1, asked.replicas)
                rows = {
                    f"OpenMM {asked.platform}, {n}": merged_rate(molecule, n, asked.platform, asked.steps)
                    for n in counts
                }
        except (RuntimeError, openmm.OpenMMException) as error:
            raise SystemExit(str(error)) from error
        for name, rate in rows.items():
            print(f"{Path(pdb).stem}, {atoms} atoms, {name}: {rate * 1e-6:.4g} million steps/s", flush=True)


if __name__ == "__main__":
    main()
