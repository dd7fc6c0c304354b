"""Densities on a torus to draw torsions from: kernels on known structures above a uniform floor.

    q(t) = (1 - f) mean_c prod_j M(t_j; c_j, kappa) + f (2 pi)^-k
    M(t; c, kappa) = exp(kappa cos(t - c)) / (2 pi I0(kappa))

with k torsions t, kernel centres c, the von Mises density M and the floor f. The floor keeps q positive everywhere, so
that no structure is left out by kernels that were chosen badly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from latentmd.arrays import Floats, Ints

#: Share of the uniform density.
FLOOR = 0.1


@dataclass(frozen=True)
class TorsionKernels:
    """One density for each of several groups, for example one for each temperature.

    Attributes:
        centres: torsions of known structures in radians, shape (groups, kernels, torsions).
        width: standard deviation of a kernel in radians; its concentration kappa is width**-2.
        floor: share of the uniform density, above 0.
    """

    centres: Floats
    width: float
    floor: float = FLOOR

    def draw(self, groups: Ints, rng: np.random.Generator) -> Floats:
        """Draw torsions (draws, torsions) in radians from the densities of groups (draws,)."""
        _, kernels, torsions = self.centres.shape
        chosen = self.centres[np.asarray(groups, dtype=np.int64), rng.integers(kernels, size=len(groups))]
        near = chosen + rng.vonmises(0.0, self.width**-2, chosen.shape)
        anywhere = rng.uniform(-np.pi, np.pi, (len(groups), torsions))
        return np.where(rng.random(len(groups))[:, None] < self.floor, anywhere, near)

    def log_density(self, angles: Floats, groups: Ints) -> Floats:
        """ln q of torsions (draws, torsions) in radians under the densities of groups (draws,), per radian^torsions."""
        from scipy.special import i0e

        torsions = self.centres.shape[2]
        kappa = self.width**-2
        near = np.einsum("dk,dnk->dn", _on_circles(angles), self._circles[np.asarray(groups, dtype=np.int64)])
        largest = near.max(axis=1)  # of the sum over torsions of cos(t - c)
        density = np.exp(kappa * (near - largest[:, None])).mean(axis=1)
        log_near = np.log(density) + kappa * (largest - torsions) - torsions * np.log(2 * np.pi * i0e(kappa))
        uniform = -torsions * np.log(2 * np.pi)
        return np.asarray(np.logaddexp(np.log1p(-self.floor) + log_near, np.log(self.floor) + uniform))

    @cached_property
    def _circles(self) -> Floats:
        return _on_circles(self.centres)


def _on_circles(angles: Floats) -> Floats:
    """Cosines, then sines: cos(t - c) summed over torsions is a product of two such vectors."""
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
