"""Rollouts of models, to be evaluated: of a model for many peptides, and of the surrogate of one molecule."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from latentmd.analysis.features import FeatureSet, FeatureSpec, StructureTotals
from latentmd.arrays import Floats
from latentmd.core.steps.angles import EVER
from latentmd.io.progress import Tick, part_of, silent
from latentmd.model.bound_peptide import BoundPeptide
from latentmd.model.peptides import PeptideModel
from latentmd.model.propagator import Propagator
from latentmd.molecule.chain import Chain
from latentmd.molecule.checks import StructureTemplate

_CHUNK = 1000  # chains that are drawn together


class Equilibrium:
    """Draws of a model of many peptides for one of them, from lag ∞."""

    def __init__(self, model: PeptideModel, chain: Chain, seed: int) -> None:
        self.bound = BoundPeptide(model, chain).eval()
        self.generator = torch.Generator().manual_seed(seed)

    def noise(self, rows: int, size: int) -> Tensor:
        """Noise of a draw, a step or a decoded frame, shape (rows, size)."""
        return torch.randn(rows, size, generator=self.generator)

    @torch.no_grad()
    def draw(self, rows: int) -> Tensor:
        """Independent draws of torsions (rows, tokens, slots), radians."""
        slow = torch.zeros(rows, self.bound.n_tokens, self.bound.n_slow)
        return self.bound.draw(slow, torch.full((rows,), EVER), self.noise(rows, self.bound.torsion_noise))

    def equilibrium(self, count: int) -> Floats:
        """Independent draws of torsions (count, tokens, slots), radians."""
        return np.concatenate([self.draw(min(_CHUNK, count - k)).numpy() for k in range(0, count, _CHUNK)])


_PART = 100  # latent steps between two reports of progress
DECODED_FRAMES = 1000  # frames of the rollouts whose energies the engine computes, of all walkers in turn


class Rollout(NamedTuple):
    """Decoded rollouts: the set with whole frames of its first walker, as many of all walkers, and wall time."""

    frames: FeatureSet
    sampled: Floats
    seconds: float


@dataclass(frozen=True)
class Decoding:
    """How latent paths become frames: surrogate, features and structure checks of every frame, source of noise."""

    propagator: Propagator
    spec: FeatureSpec
    template: StructureTemplate
    rng: np.random.Generator
    tick: Tick = silent

    def decode(self, path: Tensor, interval: float, kept: int = DECODED_FRAMES) -> tuple[FeatureSet, Floats]:
        """Decode a path (steps, walkers, tokens, axes): a run per walker, and whole frames, at least `kept` of both."""
        totals, values, frames = StructureTotals(), [], []
        sampled: list[Floats] = []
        stride = max(1, len(path) // kept)
        per_step = -(-kept * stride // len(path))  # walkers whose frame is kept at a step
        for step, slow in enumerate(path):
            positions = self.propagator.decode(slow, self.rng)
            self.tick(step, len(path))
            values.append(self.spec.values(positions))
            totals.add(positions, self.template)
            if step % stride == 0:
                frames.append(positions[0].astype(np.float32))
                turn = (np.arange(per_step) + len(sampled) * per_step) % len(positions)
                sampled.append(positions[np.unique(turn)].astype(np.float32))
        files, runs = (Path(self.propagator.manifest.name),), list(np.stack(values, axis=1))
        return FeatureSet(files, runs, interval, np.stack(frames), totals), np.concatenate(sampled)

    def generate(self, starts: Floats, lag: float, steps: int) -> Rollout:
        """Roll out from positions (walkers, atoms, 3) in nm by steps of a lag in ps, and decode every step."""
        begin = time.perf_counter()
        last, parts = self.propagator.encode(starts), []
        for done in range(0, steps, _PART):
            parts.append(self.propagator.rollout(last, lag, min(_PART, steps - done), self.rng))
            last = parts[-1][-1]
            self.tick(done, 2 * steps)
        path = torch.cat(parts)
        rolled = time.perf_counter() - begin
        slow = path[:: max(1, steps // 20)]
        begin = time.perf_counter()
        for part in slow:
            self.propagator.decode(part, self.rng)
        # Decoding alone is timed on every 20th part, so that the cost of the checks is not counted.
        seconds = rolled + (time.perf_counter() - begin) * steps / len(slow)
        return Rollout(*replace(self, tick=part_of(self.tick, steps, 2 * steps)).decode(path, lag), seconds)
