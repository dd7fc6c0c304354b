"""Structures of latent frames: decoded, relaxed, checked, and laid on one reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentmd.arrays import Bools, Doubles, Floats
from latentmd.model.propagator import Propagator
from latentmd.molecule.geometry import superposed
from latentmd.sampling.models import mended
from latentmd.sampling.paths.request import Subject

_BLOCK = 2000  # frames decoded at once
_REDRAWS = 3  # of frames that fail a check
KINDS = ("latent", "relaxed", "given")  # of frames, as the numbers in a task's file


@dataclass(frozen=True)
class DecodedFrames:
    """Frames in nm, how they were made (`KINDS`), energies in kJ/mol, and which were sound before relaxation."""

    positions: Doubles
    kinds: NDArray[np.int8]
    energies: Doubles
    sound: Bools

    def columns(self, subject: Subject, propagator: Propagator) -> dict[str, NDArray[Any]]:
        """What a task keeps of each frame: how it was made, which checks it fails, and its torsions."""
        failed, torsions = failed_checks(self.positions, propagator), subject.torsions(self.positions)
        found: dict[str, NDArray[Any]] = {"kinds": self.kinds, "energies": self.energies, "failed": failed}
        return found | {"sound": self.sound, "torsions": torsions}


def structures(subject: Subject, propagator: Propagator, slow: torch.Tensor, rng: np.random.Generator) -> DecodedFrames:
    """Decode and relax frames of slow axes [frames, tokens, k]; one that fails a check is drawn again, a few times."""
    decoded = _decoded(propagator, slow, rng)
    sound = failed_checks(decoded, propagator) == ""
    positions, energies, minimised = _relaxed(subject, propagator, decoded, rng)
    for _ in range(_REDRAWS):
        bad = np.flatnonzero(failed_checks(positions, propagator) != "")
        if not len(bad):
            break
        again = _decoded(propagator, slow[bad], rng)
        positions[bad], energies[bad], minimised[bad] = _relaxed(subject, propagator, again, rng)
    return DecodedFrames(laid_on(positions, subject), minimised.astype(np.int8), energies, sound)


def _relaxed(
    subject: Subject, propagator: Propagator, decoded: Doubles, rng: np.random.Generator
) -> tuple[Doubles, Doubles, Bools]:
    """Positions, energies and which were moved; where no force field is known, by the bonded model of the data."""
    positions, energies, moved = subject.relaxed(decoded)
    if not subject.manifest.of_force_field and propagator.manifest.training.get("bonded"):
        moved = failed_checks(positions, propagator) != ""
        positions[moved] = mended(propagator, positions[moved], rng.integers(2**63, size=int(moved.sum())).tolist())
    return positions, energies, moved


def _decoded(propagator: Propagator, slow: torch.Tensor, rng: np.random.Generator) -> Doubles:
    return np.concatenate([propagator.decode(slow[i : i + _BLOCK], rng) for i in range(0, len(slow), _BLOCK)])


def laid_on(positions: Floats, subject: Subject) -> Doubles:
    """Structures turned and moved onto the reference, weighted by mass; nm, shape (frames, atoms, 3)."""
    system = subject.molecule.system
    masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
    return superposed(positions.astype(np.float64), subject.reference[None], masses)


def failed_checks(positions: Floats, propagator: Propagator) -> NDArray[np.str_]:
    """Names of the checks that each frame fails, separated by spaces, shape (frames,)."""
    passed = propagator.checks(positions)
    return np.array([" ".join(name for name, ok in passed.items() if not ok[i]) for i in range(len(positions))])


def path_file(folder: Path, number: int) -> Path:
    """Trajectory file of a path in a folder."""
    return folder / f"path-{number:04d}.xtc"
