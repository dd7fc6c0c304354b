"""Rollouts of a model of many peptides for one of them, as torsions and as structures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from latentmd.arrays import Floats
from latentmd.core.steps.torsions import EVER
from latentmd.model.bound_peptide import BoundPeptide
from latentmd.model.peptides import PeptideModel
from latentmd.molecule.chain import Chain

_CHUNK = 1000  # chains that are drawn together


class Rollouts:
    """Rollouts of a model for one peptide; they begin at draws from lag ∞, the model's equilibrium.

    Args:
        model: the model.
        chain: the peptide.
        seed: of the random numbers.
    """

    def __init__(self, model: PeptideModel, chain: Chain, seed: int) -> None:
        self.bound = BoundPeptide(model, chain).eval()
        self.generator = torch.Generator().manual_seed(seed)

    def _noise(self, rows: int, size: int) -> Tensor:
        return torch.randn(rows, size, generator=self.generator)

    @torch.no_grad()
    def _draw(self, rows: int) -> Tensor:
        slow = torch.zeros(rows, self.bound.n_tokens, self.bound.n_slow)
        return self.bound.draw(slow, torch.full((rows,), EVER), self._noise(rows, self.bound.torsion_noise))

    def equilibrium(self, count: int) -> Floats:
        """Independent draws of torsions (count, tokens, slots), radians."""
        parts = [self._draw(min(_CHUNK, count - k)).numpy() for k in range(0, count, _CHUNK)]
        return np.concatenate(parts)

    @torch.no_grad()
    def torsions(self, walkers: int, steps: int, lag: float) -> Floats:
        """Torsions (steps, walkers, tokens, slots) of rollouts, without structures.

        Args:
            walkers: independent rollouts.
            steps: of each.
            lag: ps of a step.
        """
        angles, lags, out = self._draw(walkers), torch.full((walkers,), lag), []
        for _ in range(steps):
            angles = self.bound.draw(self.bound.latent(angles), lags, self._noise(walkers, self.bound.torsion_noise))
            out.append(angles.numpy())
        return np.stack(out)

    @torch.no_grad()
    def decoded(self, walkers: int, steps: int, lag: float) -> tuple[Floats, Floats]:
        """Rollouts as a user gets them, every step decoded.

        Args:
            walkers: independent rollouts.
            steps: of each.
            lag: ps of a step.

        Returns:
            Torsions (steps, walkers, tokens, slots) of the structures, and structures (steps · walkers, atoms, 3) nm.
        """
        slow, lags = self.bound.state(self._draw(walkers)), torch.full((walkers,), lag)
        angles, structures = [], []
        for _ in range(steps):
            slow = self.bound.step(slow, lags, self._noise(walkers, self.bound.step_noise))
            positions = self.bound.decode(slow, self._noise(walkers, self.bound.decode_noise))
            angles.append(self.bound.angles(positions).numpy())
            structures.append(positions.numpy())
        return np.stack(angles), np.concatenate(structures)
