"""Markov chains conditioned on where they end: exact bridges, their probabilities and states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentmd.arrays import Doubles, Floats, Ints


class UnreachableError(ValueError):
    """The chain cannot be at its end after that number of steps."""


@dataclass(frozen=True)
class MarkovBridge:
    """A Markov chain conditioned on its state after a number of steps (Doob's h-transform).

    With h_N the weights of the end, h_t = T h_(t+1) is the probability of the end given the state at t, and the
    conditioned chain steps with P(j | i, t) = T_ij h_(t+1)(j) / h_t(i). Each h_t of `h` (steps + 1, states) is scaled
    to a largest value of 1, and `log_scale` (steps + 1,) is ln of what it was divided by.
    """

    matrix: Doubles
    h: Doubles
    log_scale: Doubles

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.h) - 1

    def log_reach(self, start: int) -> float:
        """ln of the probability of the end after all steps from a state; minus infinity where it is 0."""
        with np.errstate(divide="ignore"):
            return float(np.log(self.h[0, start]) + self.log_scale[0])

    def step_matrix(self, t: int) -> Doubles:
        """P(j | i, t) of the conditioned chain, shape (states, states); rows that cannot reach the end are 0."""
        weighted = self.matrix * self.h[t + 1]
        total = weighted.sum(axis=1, keepdims=True)
        return np.asarray(np.divide(weighted, total, out=np.zeros_like(weighted), where=total > 0))

    def sample(self, start: int, count: int, rng: np.random.Generator) -> Ints:
        """Paths (count, steps + 1) from a state; UnreachableError where it does not lead to the end."""
        if self.h[0, start] == 0:
            raise UnreachableError(
                f"state {start} does not lead to the end in {self.steps} steps; take more steps or another end"
            )
        paths = np.empty((count, self.steps + 1), dtype=np.int64)
        paths[:, 0] = start
        for t in range(self.steps):
            cumulative = np.cumsum(self.step_matrix(t), axis=1)[paths[:, t]]
            draws = rng.random((count, 1)) * cumulative[:, -1:]
            paths[:, t + 1] = (cumulative <= draws).sum(axis=1)
        return paths

    def marginals(self, start: int) -> Doubles:
        """Probability of each state at each step from a start, shape (steps + 1, states)."""
        result = np.zeros_like(self.h)
        result[0, start] = 1.0
        for t in range(self.steps):
            result[t + 1] = result[t] @ self.step_matrix(t)
        return result

    def log_probabilities(self, paths: Ints) -> Doubles:
        """ln of the product of P(s_(t+1) | s_t, end) of paths (paths, steps + 1); -1 is a state outside the chain."""
        if paths.ndim != 2 or paths.shape[1] != self.steps + 1:
            raise ValueError(f"paths have shape {paths.shape}; expected (paths, {self.steps + 1})")
        total = np.where((paths < 0).any(axis=1), -np.inf, 0.0)
        with np.errstate(divide="ignore"):
            for t in range(self.steps):
                total = total + np.log(self.step_matrix(t)[paths[:, t], paths[:, t + 1]])
        return np.asarray(total)


def markov_bridge(matrix: Floats, end: int | Floats, steps: int) -> MarkovBridge:
    """Condition a chain of matrix (states, states) on its end after some steps: a state, or weights (states,)."""
    transition = np.asarray(matrix, dtype=np.float64)
    rows = transition.sum(axis=1)
    if transition.min() < 0 or np.abs(rows - 1).max() > 1e-6:
        raise ValueError(f"rows of the transition matrix sum to {rows.min():g} to {rows.max():g}; expected 1")
    if steps < 1:
        raise ValueError(f"a bridge of {steps} steps; expected at least 1")
    h, log_scale = np.zeros((steps + 1, len(transition))), np.zeros(steps + 1)
    h[steps] = np.eye(len(transition))[end] if np.ndim(end) == 0 else np.asarray(end, dtype=np.float64)
    for t in range(steps, -1, -1):
        if t < steps:
            h[t] = transition @ h[t + 1]
        size = h[t].max()
        if size > 0:
            h[t] /= size
            log_scale[t] = np.log(size)
    return MarkovBridge(transition, h, np.cumsum(log_scale[::-1])[::-1].copy())
