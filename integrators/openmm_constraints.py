"""Projection of positions and velocities onto distance constraints, far from the constraint surface too."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import openmm
from numpy.typing import ArrayLike
from scipy.linalg.lapack import dposv

from latentmd.arrays import Doubles
from latentmd.core.noise import CounterNoise

_MAX_ITERATIONS = 50


class ConstraintError(RuntimeError):
    """Distance constraints that cannot be met from the positions given."""


class ConstraintProjector:
    """Mass-weighted projection onto |x_i - x_j| = d, to a relative error of `tolerance`; lengths in nm, masses in amu.

    Positions: Newton iterations x -= M^-1 J^T (J M^-1 J^T)^-1 c with c = |r|^2 - d^2 and J at the current geometry.
    Velocities: v -= M^-1 J^T (J M^-1 J^T)^-1 J v. Both keep the total momentum and the centre of mass, and a
    Maxwell–Boltzmann velocity stays one, on the constrained degrees of freedom. OpenMM's own `addConstrainPositions`
    takes bond vectors from the start of the step and fails silently after large displacements; hence this.
    """

    def __init__(self, pairs: ArrayLike, lengths: ArrayLike, masses: ArrayLike, tolerance: float = 1e-10) -> None:
        self.pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
        self.lengths = np.asarray(lengths, dtype=np.float64)
        self.masses = np.asarray(masses, dtype=np.float64)
        self.tolerance = tolerance
        self._inverse = 1.0 / self.masses[:, None]
        self._squares = self.lengths**2
        rows = np.arange(len(self.pairs))
        self.incidence = np.zeros((len(self.pairs), len(self.masses)))  # D: r = D x
        self.incidence[rows, self.pairs[:, 0]], self.incidence[rows, self.pairs[:, 1]] = 1.0, -1.0
        self.coupling = self.incidence @ (self._inverse * self.incidence.T)  # D M^-1 D^T

    def residual(self, positions: Doubles) -> float:
        """Largest relative error of a constrained length."""
        if not len(self.pairs):
            return 0.0
        return float(np.max(np.abs(np.linalg.norm(self._vectors(positions), axis=1) / self.lengths - 1.0)))

    def project_positions(self, positions: Doubles) -> Doubles:
        """The nearest positions [N, 3] nm, by mass, on the constraints; ConstraintError where atoms coincide."""
        x = positions.copy()
        if not len(self.pairs):
            return x
        for _ in range(_MAX_ITERATIONS):
            r = self._vectors(x)
            c = 0.5 * (np.einsum("ci,ci->c", r, r) - self._squares)
            worst = float((np.abs(c) / self._squares).max())
            if worst <= self.tolerance:
                return x
            if not math.isfinite(worst):
                break
            x -= self._spread(r, self._solve(r, c))
        raise ConstraintError(
            f"constrained bonds could not be restored: relative error {worst:.1e} after {_MAX_ITERATIONS} iterations; "
            "the proposed structure is too far from the constraints"
        )

    def draw_velocities(self, positions: Doubles, kT: float, noise: CounterNoise, still: bool) -> Doubles:
        """Maxwell–Boltzmann velocities [N, 3] nm/ps on the constraints, kT in kJ/mol; `still`: no total momentum."""
        v = noise.standard_normal(positions.shape) * (math.sqrt(kT) * (1.0 / np.sqrt(self.masses))[:, None])
        if still:
            v -= self.masses @ v / self.masses.sum()
        return np.asarray(self.project_velocities(positions, v))

    def project_velocities(self, positions: Doubles, velocities: Doubles) -> Doubles:
        """Velocities [N, 3] without the components along the constraints at `positions`."""
        if not len(self.pairs):
            return velocities.copy()
        r = self._vectors(positions)
        rate = np.einsum("ci,ci->c", r, self._vectors(velocities))
        return velocities - self._spread(r, self._solve(r, rate))

    def _vectors(self, positions: Doubles) -> Doubles:
        return np.asarray(self.incidence @ positions)

    def _spread(self, r: Doubles, multipliers: Doubles) -> Doubles:
        """M^-1 J^T multipliers, [N, 3]."""
        return np.asarray(self._inverse * (self.incidence.T @ (r * multipliers[:, None])))

    def _solve(self, r: Doubles, right: Doubles) -> Doubles:
        """Solution of J M^-1 J^T multipliers = right; its elements are (D M^-1 D^T)_ab r_a . r_b."""
        _, solution, info = dposv(self.coupling * (r @ r.T), right)
        if info:
            raise ConstraintError("constrained bonds could not be restored: the constraints depend on each other")
        return np.asarray(solution)


def constraint_projector(system: openmm.System, atoms: Sequence[int]) -> ConstraintProjector:
    """The projector for some atoms of a System, in that order; ValueError where they are tied to others or massless."""
    index = {atom: row for row, atom in enumerate(atoms)}
    masses = [system.getParticleMass(atom)._value for atom in atoms]
    if 0.0 in masses:
        raise ValueError(
            f"atom {atoms[masses.index(0.0)]} has mass 0, so OpenMM would not move it; "
            "give it a mass, or leave its molecule to the MD integrator"
        )
    pairs, lengths = [], []
    for row in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(row)
        if (i in index) != (j in index):
            raise ValueError(
                f"atoms {i} and {j} are tied by a constraint, but only one is moved by the model; "
                "atoms= must hold whole molecules"
            )
        if i in index:
            pairs.append((index[i], index[j]))
            lengths.append(length._value)
    return ConstraintProjector(pairs, lengths, masses)
