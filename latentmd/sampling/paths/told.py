"""Latent steps of a bound peptide, given the torsions of the residues around those to be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latentmd.arrays import Floats, Ints
from latentmd.core.paths.pinned import systematic
from latentmd.core.paths.steps import FreeSteps
from latentmd.molecule.chain import chain
from latentmd.molecule.known_torsions import KnownTorsions, known_torsions

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator


_STARTS = 8  # draws for each particle that the first frame is started with


def _nowhere(z: Tensor) -> Tensor:
    """One cell: what is observed guides these steps, not cells."""
    return torch.zeros(len(z), dtype=torch.long)


@dataclass(frozen=True)
class Told:
    """Torsions of each frame that the given atoms determine. Picklable.

    Attributes:
        which: the torsions that are known.
        angles: their values, shape (frames, tokens, slots), radians.
    """

    which: KnownTorsions
    angles: Floats

    def part(self, begin: int, end: int) -> Told:
        """The frames from `begin` to before `end`."""
        return Told(self.which, self.angles[begin:end])


def told_by(propagator: Propagator, known: Ints, positions: Floats) -> Told:
    """Measure the torsions that the given atoms of frames determine.

    Args:
        propagator: a bound peptide.
        known: atoms whose coordinates are given.
        positions: nm, shape (frames, atoms, 3); only the given atoms count.
    """
    topology, own = propagator.molecule()
    hand = propagator.module.hand.numpy()
    which = known_torsions(chain(topology, own * hand), known)
    return Told(which, which.measure(positions * hand))


class ToldSteps(FreeSteps):
    """Steps of a bound peptide that agree with the known torsions of each frame.

    Args:
        module: the bound peptide.
        told: of the frames.
        lag: of a step, ps.
    """

    def __init__(self, module: Any, told: Told, lag: float) -> None:
        super().__init__(module, _nowhere, lag)
        self.module, self.lag = module, lag
        self.angles, self.known = torch.from_numpy(told.angles), torch.from_numpy(told.which.known)

    @torch.no_grad()
    def starts(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws from equilibrium given the known torsions of the first frame, [count, tokens, axes].

        Args:
            count: of them.
            generator: decides them.
        """
        nothing = torch.zeros(_STARTS * count, *self.module.types.shape[1:2], int(self.module.axes))
        z, weight = self._told(nothing, 0, np.inf, generator)
        return z[systematic(torch.softmax(weight.double(), dim=0), count, generator)]

    def arrive(self, z: Tensor, t: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Step to frame t; returns z' and the ln of the weight of each.

        Args:
            z: particles [particles, tokens, axes].
            t: number of the frame.
            generator: decides the step.
        """
        return self._told(z, t, self.lag, generator)

    def _told(self, z: Tensor, t: int, lag: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        noise = torch.randn(len(z), int(self.module.torsion_noise), generator=generator)
        drawn: tuple[Tensor, Tensor] = self.module.told_step(
            z, torch.full((len(z),), lag), noise, self.angles[t], self.known
        )
        return drawn
