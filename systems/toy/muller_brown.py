"""A particle on the Müller–Brown surface: three minima, and populations by quadrature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentmd.arrays import Bools, Doubles
from latentmd.systems.toy.langevin import LangevinWorld

_HEIGHT = np.array([-200.0, -100.0, -170.0, 15.0])
_A = np.array([-1.0, -1.0, -6.5, 0.7])
_B = np.array([0.0, 0.0, 11.0, 0.6])
_C = np.array([-10.0, -10.0, -6.5, 0.7])
_X = np.array([1.0, 0.0, -0.5, -1.0])
_Y = np.array([0.0, 0.5, 1.5, 1.0])


@dataclass(frozen=True)
class MullerBrown(LangevinWorld):
    """V = Σ_k A_k exp(a_k (x − x_k)² + b_k (x − x_k)(y − y_k) + c_k (y − y_k)²) of Müller & Brown (1979), with minima
    of −146.7, −108.2 and −80.8. The line y = x + 1.45 between the basins crosses the higher saddle (V = −40.7): at kT =
    20 the highest barrier is 5.3 kT; the friction is a rate.
    """

    kT: float = 20.0
    friction: float = 10.0
    timestep: float = 0.002
    stride: int = 25
    inertia: bool = True

    name = "muller-brown"
    low = (-2.0, -0.9)
    high = (1.6, 2.4)

    def potential(self, q: Doubles) -> Doubles:
        """V [...] at positions [..., 2]."""
        return np.asarray(self._terms(q)[0].sum(-1))

    def gradient(self, q: Doubles) -> Doubles:
        """∇V [..., 2] at positions [..., 2]."""
        term, dx, dy = self._terms(q)
        along_x = (term * (2 * _A * dx + _B * dy)).sum(-1)
        along_y = (term * (_B * dx + 2 * _C * dy)).sum(-1)
        return np.stack([along_x, along_y], axis=-1)

    def _terms(self, q: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        dx, dy = q[..., :1] - _X, q[..., 1:] - _Y
        return _HEIGHT * np.exp(_A * dx * dx + _B * dx * dy + _C * dy * dy), dx, dy

    def _minimum(self) -> float:
        return -146.7

    def basins(self, q: Doubles) -> dict[str, Bools]:
        """Above and below the line y = x + 1.45."""
        upper = np.asarray(q[..., 1] > q[..., 0] + 1.45)
        return {"upper": upper, "lower": ~upper}
