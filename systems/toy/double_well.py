"""A particle in a tilted double well: populations and first-passage times by quadrature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import cumulative_trapezoid

from latentmd.arrays import Bools, Doubles
from latentmd.systems.toy.langevin import LangevinWorld
from latentmd.systems.toy.world import WorldError

_POINTS = 10001  # of a quadrature along the line, on either side of the start


@dataclass(frozen=True)
class DoubleWell(LangevinWorld):
    """V(x) = barrier (x² − 1)² + tilt x, in units of kT = 1; basins left and right of zero; the friction is a rate."""

    barrier: float = 3.0
    tilt: float = 0.3
    kT: float = 1.0
    friction: float = 1.0
    timestep: float = 0.01
    stride: int = 10
    inertia: bool = True

    name = "double-well"
    low = (-2.5,)
    high = (2.5,)

    def potential(self, q: Doubles) -> Doubles:
        """V [...] at positions [..., 1]."""
        x = q[..., 0]
        return np.asarray(self.barrier * (x * x - 1) ** 2 + self.tilt * x)

    def gradient(self, q: Doubles) -> Doubles:
        """V' [..., 1] at positions [..., 1]."""
        return 4 * self.barrier * q * (q * q - 1) + self.tilt

    def _minimum(self) -> float:
        return -abs(self.tilt) * self.high[0]

    def basins(self, q: Doubles) -> dict[str, Bools]:
        """Left and right of zero."""
        right = np.asarray(q[..., 0] >= 0)
        return {"left": ~right, "right": right}

    def mean_first_passage(self, start: float, end: float) -> float:
        """Mean time from x = start until x first reaches `end`, of the dynamics without inertia.

        τ = (γ / kT) ∫_start^end dy exp(V(y) / kT) ∫_{−∞}^y dz exp(−V(z) / kT) for start < end (Zwanzig 2001, 4.2), by
        the trapezoidal rule; mirrored for start > end.
        """
        if self.inertia:
            raise WorldError("first-passage times have a closed form without inertia only: DoubleWell(inertia=False)")
        sign = 1.0 if end >= start else -1.0
        below = np.linspace(self.low[0], sign * start, _POINTS)
        across = np.linspace(sign * start, sign * end, _POINTS)
        x = np.concatenate([below, across])
        scaled = self.potential(sign * x[:, None]) / self.kT
        inner = (np.exp(scaled) * cumulative_trapezoid(np.exp(-scaled), x, initial=0))[_POINTS:]
        return float(self.friction / self.kT * np.trapezoid(inner, across))
