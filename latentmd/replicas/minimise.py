"""Energy minimisation of many replicas at once, each with a curvature and a step length of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from latentmd.arrays import Bools, Doubles

#: Positions (replicas, atoms, 3) in nm to: the same on the constraints, energies in kJ/mol (replicas,), and
#: mass-weighted gradients along the constraints in kJ/mol/nm/sqrt(amu) (replicas, atoms, 3).
Evaluate = Callable[[Doubles], tuple[Doubles, Doubles, Doubles]]

_MEMORY = 8  # steps that the curvature is estimated from
_SHORTEST = 1e-4  # fraction of a step below which the curvature is forgotten


def lower(
    positions: Doubles,
    evaluate: Evaluate,
    mass: Doubles,
    iterations: int,
    largest_step: float,
    tolerance: float,
    enough: float = -np.inf,
) -> tuple[Doubles, Doubles]:
    """Go downhill with L-BFGS (Liu and Nocedal, Math. Program. 45, 503, 1989), never uphill.

    In mass-weighted coordinates SHAKE and RATTLE are orthogonal projections, so that a step along the projected
    gradient goes downhill on the constraints too; with the gradient of plain positions it need not.

    A replica ends below `tolerance`, kJ/mol/nm root mean square of its projected forces, or below the energy `enough`,
    kJ/mol; no atom moves more than `largest_step`, nm, in a step. Returns positions (replicas, atoms, 3) in nm and
    energies (replicas,) in kJ/mol; each depends on its own start alone, and where its energy is not finite it stays.
    """
    width = np.sqrt(mass)[:, None]
    x, energies, gradients = evaluate(positions)
    memory = _Curvature(x.shape)
    share, ended = np.ones(len(x)), ~np.isfinite(energies)
    for _ in range(iterations - 1):
        ended |= (np.sqrt(np.mean((gradients * width) ** 2, axis=(1, 2))) <= tolerance) | (energies < enough)
        if ended.all():
            break
        step = _limited(-memory.applied(gradients) / width, largest_step) * share[:, None, None]
        tried, found, slopes = evaluate(x + step)
        better = (found < energies) & ~ended
        memory.learn(better, (tried - x) * width, slopes - gradients)
        rows = better[:, None, None]
        x, gradients = np.where(rows, tried, x), np.where(rows, slopes, gradients)
        energies = np.where(better, found, energies)
        share = np.where(better, 1.0, 0.25 * share)
        short = share < _SHORTEST
        ended |= short & memory.empty
        memory.forget(short)
        share[short] = 1.0
    return x, energies


def _limited(step: Doubles, largest: float) -> Doubles:
    longest = np.linalg.norm(step, axis=2).max(axis=1)
    return np.asarray(step * np.minimum(1.0, largest / np.maximum(longest, 1e-300))[:, None, None])


class _Curvature:
    """Inverse curvature of every replica from its own last steps; a row without steps leaves gradients as they are."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._steps, self._turns = np.zeros((_MEMORY, *shape)), np.zeros((_MEMORY, *shape))
        self._weights = np.zeros((_MEMORY, shape[0]))  # 1 / (step . change of the gradient); 0 where there is none

    @property
    def empty(self) -> Bools:
        """Whether no step of a replica is remembered, shape (replicas,)."""
        return np.asarray(~self._weights.any(axis=0))

    def forget(self, rows: Bools) -> None:
        """Start again in these replicas."""
        self._weights[:, rows] = 0.0

    def learn(self, rows: Bools, step: Doubles, turn: Doubles) -> None:
        """Take a step and the change of the gradient along it, where the energy curves upward."""
        along = _dot(step, turn)
        rows = rows & (along > 1e-8 * np.sqrt(_dot(step, step) * _dot(turn, turn)))
        for store, new in ((self._steps, step), (self._turns, turn)):
            store[1:, rows] = store[:-1, rows]
            store[0, rows] = new[rows]
        self._weights[1:, rows] = self._weights[:-1, rows]
        self._weights[0, rows] = 1.0 / along[rows]

    def applied(self, gradients: Doubles) -> Doubles:
        """Gradients times the inverse curvature, by the two-loop recursion."""
        out, factors = gradients.copy(), []
        for step, turn, weight in zip(self._steps, self._turns, self._weights, strict=True):
            factors.append(weight * _dot(step, out))
            out -= factors[-1][:, None, None] * turn
        last = self._weights[0] * _dot(self._turns[0], self._turns[0])
        out /= np.where(last > 0, last, 1.0)[:, None, None]
        for step, turn, weight, factor in reversed(
            list(zip(self._steps, self._turns, self._weights, factors, strict=True))
        ):
            out += (factor - weight * _dot(turn, out))[:, None, None] * step
        return out


def _dot(a: Doubles, b: Doubles) -> Doubles:
    return np.asarray(np.einsum("rad,rad->r", a, b))
