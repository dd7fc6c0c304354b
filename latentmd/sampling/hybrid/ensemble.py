"""An ensemble of cheap predictors of the slow axes: where its members disagree, there were too few data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentmd.arrays import Floats
from latentmd.io.atomic import write_npz

ENSEMBLE = "ensemble.npz"
MEMBERS = 3
_FEATURES = 64  # of each member
_RIDGE = 1e-3  # over the number of pairs


@dataclass(frozen=True)
class Ensemble:
    """Ridge regressions on random Fourier features (Rahimi and Recht 2007), each on a bootstrap sample of bursts.

    Every member predicts the slow axes one lag ahead; all have features of their own.

    Attributes:
        frequencies: shape (members, axes, features).
        phases: shape (members, features).
        coefficients: shape (members, features + 1, axes).
        residual: deviation of what the members leave unexplained, shape (axes,).
    """

    frequencies: Floats
    phases: Floats
    coefficients: Floats
    residual: Floats

    def predict(self, slow: Floats) -> Floats:
        """Predictions of all members (members, n, axes) from slow axes (n, axes)."""
        return np.stack(
            [_design(slow, w, b) @ c for w, b, c in zip(self.frequencies, self.phases, self.coefficients, strict=True)]
        )

    def disagreement(self, slow: Floats) -> Floats:
        """Deviation between members over the residual, mean over axes, shape (n,)."""
        return np.asarray((self.predict(slow).std(axis=0) / self.residual).mean(axis=1))

    def save(self, path: Path) -> None:
        """Write an npz file whole or not at all."""
        write_npz(path, vars(self))

    @classmethod
    def load(cls, path: Path) -> Ensemble:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{name: file[name] for name in file.files})


def fit_ensemble(bursts: Sequence[Floats], lag: int, seed: int) -> Ensemble:
    """Fit the members.

    Args:
        bursts: slow axes (frames, axes) of each.
        lag: frames.
        seed: of the features and of the bootstrap.

    Raises:
        ValueError: no burst is longer than the lag.
    """
    pairs = [(b[:-lag], b[lag:]) for b in bursts if len(b) > lag]
    if not pairs:
        raise ValueError(f"no burst is longer than the lag of {lag} frames")
    rng, axes = np.random.default_rng(seed), pairs[0][0].shape[1]
    frequencies = rng.standard_normal((MEMBERS, axes, _FEATURES)) / np.sqrt(axes)
    phases = rng.uniform(0, 2 * np.pi, (MEMBERS, _FEATURES))
    coefficients, squares = [], []
    everything = [np.concatenate(part) for part in zip(*pairs, strict=True)]
    for w, b in zip(frequencies, phases, strict=True):
        chosen = [pairs[i] for i in rng.integers(len(pairs), size=len(pairs))]
        now, later = (np.concatenate(part) for part in zip(*chosen, strict=True))
        design = _design(now, w, b)
        normal = design.T @ design + _RIDGE * len(now) * np.eye(design.shape[1])
        coefficients.append(np.linalg.solve(normal, design.T @ later))
        squares.append(((_design(everything[0], w, b) @ coefficients[-1] - everything[1]) ** 2).mean(axis=0))
    return Ensemble(frequencies, phases, np.array(coefficients), np.sqrt(np.mean(squares, axis=0)) + 1e-9)


def _design(slow: Floats, frequencies: Floats, phases: Floats) -> Floats:
    return np.hstack([np.cos(slow @ frequencies + phases), np.ones((len(slow), 1))])
