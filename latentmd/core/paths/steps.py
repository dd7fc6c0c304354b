"""One latent step of many particles, as the particle filters need it: guided, defended, and into a point."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmd.core.steps.flow import FlowPredictor

_DEFENSIVE = 0.2  # share of defended steps that goes to cells by their equilibrium populations


class MixtureSteps:
    """Steps p(z' | z) = Σ_m π_m(z) p_m(z' | z), m the cell of z'. A guided step draws m in proportion to π_m(z) h(m), a
    defended one from 0.8 π_m(z) + 0.2 w_m, w the equilibrium populations (defensive importance sampling; Hesterberg
    1995).
    """

    spare = 1.25  # particles that a filter needs for each path

    def __init__(self, predictor: FlowPredictor, lag: float) -> None:
        self.predictor, self.time = predictor, lag
        self.cell = predictor.cell

    def matrix(self, points: Tensor, cell: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Mean of π(cell' | z) over the points of each cell: rare transitions need no events to be counted."""
        with torch.no_grad():
            weights = self.predictor.log_weights(points, self._lag(points)).double().exp().numpy()
        matrix = np.eye(weights.shape[1])  # a cell without points keeps its walker
        for i in np.unique(cell):
            matrix[i] = weights[cell == i].mean(axis=0)
        return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))

    def guided(self, z: Tensor, log_h: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Step to where h is large; returns z' and ln [h(cell of z') p(z' | z) / q(z' | z)]."""
        g = self._lag(z)
        weighted = self.predictor.log_weights(z, g) + log_h
        gain = torch.logsumexp(weighted, dim=1)
        alive = torch.isfinite(gain).unsqueeze(1)
        chances = torch.softmax(torch.where(alive, weighted, torch.zeros_like(weighted)), dim=1)
        m = torch.multinomial(chances, 1, generator=generator).squeeze(1)
        moved = self._flow(z, m, g, generator)
        return moved, gain - log_h[m] + log_h[self.cell(moved)]

    def defended(self, z: Tensor, stationary: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Step that now and then takes a rare cell; returns z' and ln [p(z' | z) / q(z' | z)]."""
        g = self._lag(z)
        own = self.predictor.log_weights(z, g)
        proposal = (1 - _DEFENSIVE) * own.exp() + _DEFENSIVE * stationary
        m = torch.multinomial(proposal, 1, generator=generator)
        gain = (own.gather(1, m) - proposal.gather(1, m).log()).squeeze(1)
        return self._flow(z, m.squeeze(1), g, generator), gain

    def log_arrival(self, z: Tensor, end: Tensor) -> Tensor:
        """ln of π_m(z) N(end; μ_m(z), σ_m(z)) with m the cell of the end, [particles]."""
        p, g = self.predictor, self._lag(z)
        m = p.cell(end.unsqueeze(0)).expand(len(z))
        mean, log_scale = p.flow.moments(p.context(z, m), g)
        deviation = (end.unsqueeze(0) - mean) * torch.exp(-log_scale)
        density = (-0.5 * deviation.square() - log_scale - 0.5 * math.log(2 * math.pi)).flatten(1).sum(dim=1)
        return p.log_weights(z, g).gather(1, m.unsqueeze(1)).squeeze(1) + density

    def _lag(self, z: Tensor) -> Tensor:
        embedded: Tensor = self.predictor.lag(torch.full((len(z),), self.time))
        return embedded

    def _flow(self, z: Tensor, m: Tensor, g: Tensor, generator: torch.Generator) -> Tensor:
        flow = self.predictor.flow
        noise = torch.randn(len(z), int(flow.noise_size), generator=generator)
        return flow.sample(self.predictor.context(z, m), g, noise)


class StepModel(Protocol):
    """A model with a stochastic step z' of (z, lag, noise) and the ln of the density of one of (z, lag, z')."""

    step_noise: int
    step: Callable[[Tensor, Tensor, Tensor], Tensor]
    log_arrival: Callable[[Tensor, Tensor, Tensor], Tensor]


class FreeSteps:
    """Steps of a model that takes no guide: the guide acts through the weights of the particles alone."""

    spare = 10.0  # particles that a filter needs for each path: few of them reach the end

    def __init__(self, model: StepModel, cell: Callable[[Tensor], Tensor], lag: float, cells: int = 1) -> None:
        self.model, self.cell, self.time, self.cells = model, cell, lag, cells

    def matrix(self, points: Tensor, cell: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Counts of one step from each point and, since the points are in equilibrium, of its reverse."""
        rng = np.random.default_rng(1)
        noise = torch.from_numpy(rng.standard_normal((len(points), int(self.model.step_noise)), dtype=np.float32))
        with torch.no_grad():
            after = self.cell(self.model.step(points, self._lags(points), noise)).numpy()
        counts = np.zeros((self.cells, self.cells))
        np.add.at(counts, (cell, after), 1.0)
        counts = counts + counts.T
        counts[np.diag_indices_from(counts)] += counts.sum(axis=1) == 0
        return np.asarray(counts / counts.sum(axis=1, keepdims=True))

    def guided(self, z: Tensor, log_h: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Step as the model does; returns z' and ln h(cell of z')."""
        moved = self._step(z, generator)
        return moved, log_h[self.cell(moved)]

    def defended(self, z: Tensor, stationary: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Step as the model does, which cannot be told where to go; returns z' and zeros."""
        return self._step(z, generator), torch.zeros(len(z))

    def log_arrival(self, z: Tensor, end: Tensor) -> Tensor:
        """ln of the density of a step from each particle to one point, [particles]."""
        return self.model.log_arrival(z, self._lags(z), end)

    def _step(self, z: Tensor, generator: torch.Generator) -> Tensor:
        return self.model.step(z, self._lags(z), torch.randn(len(z), int(self.model.step_noise), generator=generator))

    def _lags(self, z: Tensor) -> Tensor:
        return torch.full((len(z),), self.time)


Steps = MixtureSteps | FreeSteps  # draws of p(z' | z), with the ln of what corrects the weight of each
