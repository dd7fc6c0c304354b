"""Task of a worker process: a batch of paths from one particle filter, decoded, relaxed and written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.core.paths.pinned import PinnedPaths
from latentmd.io.atomic import write_npz
from latentmd.io.writer import write_xtc
from latentmd.molecule.checks import StructureTemplate, check_frames
from latentmd.sampling.paths.moves import Partition, moves_of
from latentmd.sampling.paths.relax import relax
from latentmd.sampling.paths.request import model_of
from latentmd.sampling.run.seeds import numbered_streams

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator
    from latentmd.systems.builder import Molecule

_BLOCK = 2000  # frames decoded at once
_LEAST_SPARE = 32  # particles more than paths
_REDRAWS = 3  # of frames that fail a check
KINDS = ("latent", "relaxed", "given")  # of frames, as the numbers in a batch's file


@dataclass(frozen=True)
class PathFrames:
    """What every batch shares about structures. Picklable.

    Attributes:
        reference: structure that frames are laid on, nm, shape (atoms, 3).
        limits: median and upper limit of MD's potential energy, kJ/mol, where they are known.
        template: of the structure checks.
        torsions: atoms of the torsions to keep, shape (torsions, 4).
    """

    molecule: Molecule
    model: str
    reference: Doubles
    limits: tuple[float, float] | None
    template: StructureTemplate
    torsions: Ints

    def propagator(self) -> Propagator:
        """The model, in the order of the molecule's atoms."""
        return model_of(self.model).arranged(self.molecule.topology, self.reference)


@dataclass(frozen=True)
class Bridge:
    """How the paths are drawn. Picklable.

    Attributes:
        h: bridge function of the cells at every latent step, shape (steps + 1, cells).
        lag, every, interval: of a latent step, ps; latent steps between frames; ps between frames.
        starts: slow axes of where paths may begin, one or many equally likely ones, shape (starts, tokens, k).
        end: slow axes of the last point, shape (tokens, k); None where the cells of h are the end.
        ends: structures that the first and the last frame are, nm, shape (atoms, 3).
        partition: cells of a model that has none of its own.
    """

    h: Doubles
    lag: float
    every: int
    interval: float
    starts: Floats
    end: Floats | None
    ends: tuple[Doubles | None, Doubles | None]
    partition: Partition | None = None


@dataclass(frozen=True)
class PathBatch:
    """Paths that one filter draws, `count` of them from path `first` of the run on."""

    frames: PathFrames
    bridge: Bridge
    folder: Path
    number: int
    first: int
    count: int
    seed: int

    @property
    def file(self) -> Path:
        """Where the batch leaves its results once its trajectories are written."""
        return self.folder / "state" / f"batch-{self.number:04d}.npz"


def draw_batch(batch: PathBatch) -> int:
    """Draw, decode, relax and write a batch; returns the number of its frames."""
    propagator, bridge = batch.frames.propagator(), batch.bridge
    rng, generator, _ = numbered_streams(batch.seed, batch.number)
    moves = moves_of(propagator, bridge.partition)
    particles = max(batch.count + _LEAST_SPARE, round(moves.spare * batch.count))
    starts = torch.from_numpy(bridge.starts[rng.integers(len(bridge.starts), size=particles)])
    filtered = PinnedPaths(moves.steps(bridge.lag), torch.from_numpy(bridge.h).float())
    end = None if bridge.end is None else torch.from_numpy(bridge.end)
    drawn = filtered.sample(starts, end, batch.count, particles, generator)
    slow = drawn.paths[:, :: bridge.every]
    cells = moves.cell(slow.flatten(0, 1)).reshape(slow.shape[:2]).numpy()
    made = structures(batch.frames, propagator, slow.flatten(0, 1), rng)
    shape = slow.shape[:2]
    x = made["positions"].reshape(*shape, -1, 3)
    kinds, energies = made["kinds"].reshape(shape), made["energies"].reshape(shape)
    for place, given in ((0, bridge.ends[0]), (-1, bridge.ends[1])):
        if given is not None:
            x[:, place], kinds[:, place] = laid_on(given[None], batch.frames)[0], KINDS.index("given")
            energies[:, place] = relax(batch.frames.molecule, given[None], None).energies
    flat = x.reshape(-1, *x.shape[2:])
    times = bridge.interval * np.arange(shape[1])
    for offset, path in enumerate(x):
        write_xtc(path_file(batch.folder, batch.first + offset), path, times)
    measured = torsions_of(flat, batch.frames.torsions).reshape(*shape, -1)
    failed = failed_checks(flat, batch.frames.template).reshape(shape)
    batch.file.parent.mkdir(exist_ok=True)
    write_npz(
        batch.file,
        {
            "cells": cells, "slow": slow.numpy(), "kinds": kinds, "energies": energies, "failed": failed,
            "sound": made["sound"].reshape(shape), "torsions": measured, "log_likelihood": drawn.log_likelihood,
            "effective": drawn.effective.numpy() / particles, "ancestors": drawn.ancestors,
        },
    )  # fmt: skip
    return int(flat.shape[0])


def structures(
    frames: PathFrames, propagator: Propagator, slow: torch.Tensor, rng: np.random.Generator
) -> dict[str, Any]:
    """Decode and relax frames of slow axes [frames, tokens, k]; one that fails a check after that is decoded again,
    up to three times. Gives positions (frames, atoms, 3) in nm, energies in kJ/mol, kinds as numbers of `KINDS`,
    and sound: whether each passed the checks before relaxation.
    """
    decoded = _decoded(propagator, slow, rng)
    sound = failed_checks(decoded, frames.template) == ""
    relaxed = relax(frames.molecule, decoded, frames.limits)
    positions, energies, minimised = relaxed.positions, relaxed.energies, relaxed.minimised
    for _ in range(_REDRAWS):
        bad = np.flatnonzero(failed_checks(positions, frames.template) != "")
        if not len(bad):
            break
        again = relax(frames.molecule, _decoded(propagator, slow[bad], rng), frames.limits)
        positions[bad], energies[bad], minimised[bad] = again
    return {
        "positions": laid_on(positions, frames),
        "energies": energies,
        "sound": sound,
        "kinds": minimised.astype(np.int8),
    }


def _decoded(propagator: Propagator, slow: torch.Tensor, rng: np.random.Generator) -> Doubles:
    return np.concatenate([propagator.decode(slow[i : i + _BLOCK], rng) for i in range(0, len(slow), _BLOCK)])


def laid_on(positions: Doubles, frames: PathFrames) -> Doubles:
    """Structures turned and moved onto the reference, weighted by mass; nm, shape (frames, atoms, 3)."""
    from latentmd.molecule.geometry import superposed

    system = frames.molecule.system
    masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
    return superposed(positions, np.asarray(frames.reference)[None], masses)


def path_file(folder: Path, number: int) -> Path:
    """Trajectory file of a path in a folder."""
    return folder / f"path-{number:04d}.xtc"


def failed_checks(positions: Doubles, template: StructureTemplate) -> np.ndarray[Any, Any]:
    """Names of the checks that each frame fails, separated by spaces, shape (frames,)."""
    passed = check_frames(np.asarray(positions, dtype=np.float64), template)
    return np.array([" ".join(name for name, ok in passed.items() if not ok[i]) for i in range(len(positions))])


def torsions_of(positions: Doubles, quads: Ints) -> Floats:
    """Torsions in radians, shape (frames, torsions)."""
    from latentmd.molecule.checks import torsions

    if not len(quads):
        return np.zeros((len(positions), 0), dtype=np.float32)
    return np.asarray(torsions(positions, quads), dtype=np.float32)
