"""Rollouts of the model of many peptides for one of them, from its own equilibrium, with structures or without."""

from __future__ import annotations

import numpy as np
import torch

from latentmd.arrays import Floats
from latentmd.evaluation.rollouts import Equilibrium


class Rollouts(Equilibrium):
    """Rollouts that begin at draws from lag ∞."""

    @torch.no_grad()
    def torsions(self, walkers: int, steps: int, lag: float) -> Floats:
        """Torsions (steps, walkers, tokens, slots) of rollouts with steps of a lag in ps, without structures."""
        angles, lags, out = self.draw(walkers), torch.full((walkers,), lag), []
        for _ in range(steps):
            angles = self.bound.move(self.bound.latent(angles), lags, self.noise(walkers, self.bound.move_noise))
            out.append(angles.numpy())
        return np.stack(out)

    @torch.no_grad()
    def decoded(self, walkers: int, steps: int, lag: float) -> tuple[Floats, Floats]:
        """Torsions (steps, walkers, tokens, slots) and structures (steps · walkers, atoms, 3) nm of rollouts."""
        slow, lags = self.bound.state(self.draw(walkers)), torch.full((walkers,), lag)
        angles, structures = [], []
        for _ in range(steps):
            slow = self.bound.step(slow, lags, self.noise(walkers, self.bound.step_noise))
            positions = self.bound.decode(slow, self.noise(walkers, self.bound.decode_noise))
            angles.append(self.bound.angles(positions).numpy())
            structures.append(positions.numpy())
        return np.stack(angles), np.concatenate(structures)
