"""Predictors that follow Hamilton's equations in the latent: separable by leapfrog, general by implicit midpoint."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from latentmd.core.layers import Lags
from latentmd.core.steps.potential import PhaseSpaceStep, Potential

_STEP = 0.3  # latent time of a call at the longest lag before training


class HamiltonianPredictor(PhaseSpaceStep):
    """Latent motion under H(q, p) = ½ pᵀ M⁻¹ p + V(q), with (q, p) the two halves of each token, by kick, drift, kick
    (Störmer–Verlet; Hairer, Lubich & Wanner 2006, I.1.4): symplectic, time-reversible and of order two whatever V is.
    Where H is not separable a split step is not symplectic: use `GeneralHamiltonianPredictor`.

    V is the `potential` of all positions, M = diag(eᵐ) with m the `log_mass`, and a substep is h = softplus(θ) τ /
    (longest lag · substeps) with θ the `raw_step`, learned. `step` is the latent time of a call at the longest lag
    before training; the scheme "euler" (explicit, not symplectic) shows what leapfrog is worth.
    """

    def __init__(
        self,
        dim: int,
        lags: Lags,
        width: int = 64,
        tokens: int = 1,
        substeps: int = 1,
        step: float = _STEP,
        scheme: Literal["leapfrog", "euler"] = "leapfrog",
    ) -> None:
        super().__init__(dim, lags, substeps)
        self.euler = scheme == "euler"
        self.potential = Potential(self.axes * tokens, width)
        self.log_mass = nn.Parameter(torch.zeros(self.axes * tokens))
        self.raw_step = nn.Parameter(torch.tensor(math.log(math.expm1(step))))  # softplus(θ) = step

    def energy(self, z: Tensor) -> Tensor:
        """H of tokens [batch, tokens, dim], [batch]."""
        q, p = self.split(z)
        kinetic = 0.5 * (p.square() * torch.exp(-self.log_mass)).sum(dim=-1)
        out: Tensor = kinetic + self.potential(q)
        return out

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Tokens a lag later; a negative lag goes back."""
        q, p = self.split(z)
        h = (softplus(self.raw_step) / (self.longest * self.substeps) * lag).unsqueeze(1)
        inverse_mass = torch.exp(-self.log_mass)
        force = -self.potential.gradient(q)
        for _ in range(self.substeps):
            if self.euler:
                q, p = q + h * inverse_mass * p, p + h * force
                force = -self.potential.gradient(q)
            else:
                p = p + 0.5 * h * force
                q = q + h * inverse_mass * p
                force = -self.potential.gradient(q)
                p = p + 0.5 * h * force
        return self.join(q, p)


class GeneralHamiltonianPredictor(PhaseSpaceStep):
    """Latent motion under any H(q, p), by the implicit midpoint rule z' = z + h J ∇H((z + z')/2). Symplectic,
    time-reversible and of order two for every H (Hairer, Lubich & Wanner 2006, VI.4.1), up to the error of the
    fixed-point iteration, which shrinks by about h |∇²H| / 2 each time.
    """

    def __init__(
        self, dim: int, lags: Lags, width: int = 64, tokens: int = 1, substeps: int = 1, iterations: int = 10
    ) -> None:
        super().__init__(dim, lags, substeps)
        self.iterations = iterations
        self.hamiltonian = Potential(dim * tokens, width)
        self.raw_step = nn.Parameter(torch.tensor(math.log(math.expm1(_STEP))))

    def energy(self, z: Tensor) -> Tensor:
        """H of tokens [batch, tokens, dim], [batch]."""
        out: Tensor = self.hamiltonian(torch.cat(self.split(z), dim=1))
        return out

    def _velocity(self, x: Tensor) -> Tensor:
        """J ∇H: (∂H/∂p, −∂H/∂q)."""
        gradient: Tensor = self.hamiltonian.gradient(x)
        n = x.shape[1] // 2
        return torch.cat([gradient[:, n:], -gradient[:, :n]], dim=1)

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Tokens a lag later; a negative lag goes back."""
        x = torch.cat(self.split(z), dim=1)
        h = (softplus(self.raw_step) / (self.longest * self.substeps) * lag).unsqueeze(1)
        for _ in range(self.substeps):
            start = x
            for _ in range(self.iterations):
                x = start + h * self._velocity(0.5 * (start + x))
        n = x.shape[1] // 2
        return self.join(x[:, :n], x[:, n:])
