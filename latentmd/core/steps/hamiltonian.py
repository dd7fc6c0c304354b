"""Predictors that follow Hamilton's equations in the latent: separable by leapfrog, general by implicit midpoint."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from latentmd.core.steps.potential import Potential


def _raw_step(step: float) -> Tensor:
    """θ with softplus(θ) = step."""
    return torch.tensor(math.log(math.expm1(step)))


def _check_dim(dim: int) -> int:
    if dim % 2:
        raise ValueError(f"a token has {dim} axes; a Hamiltonian latent needs an even number, half of them momenta")
    return dim // 2


class HamiltonianPredictor(nn.Module):
    """Latent motion under H(q, p) = ½ pᵀ M⁻¹ p + V(q), with (q, p) the two halves of each token.

    Kick, drift, kick (Störmer–Verlet; Hairer, Lubich & Wanner 2006, I.1.4): a symplectic, time-reversible map of order
    two whatever V is, so that no energy term is needed in the loss. A split step with an H that is not separable, as
    in H-JEPA, is not symplectic: use `GeneralHamiltonianPredictor` there.

    | symbol | code | meaning |
    |---|---|---|
    | V | `potential` | of the positions of all tokens together |
    | M = diag(eᵐ) | `log_mass` | |
    | h = softplus(θ) τ / (longest lag · substeps) | `raw_step` | θ is learned: the unit of latent time |

    `step` is the latent time of a call at the longest lag before training; the scheme "euler" (explicit, not
    symplectic) shows what leapfrog is worth.
    """

    noise_size: int = 0

    def __init__(
        self,
        dim: int,
        lag_range: tuple[float, float],
        width: int = 64,
        tokens: int = 1,
        substeps: int = 1,
        step: float = 0.3,
        scheme: Literal["leapfrog", "euler"] = "leapfrog",
    ) -> None:
        super().__init__()
        self.axes = _check_dim(dim)
        self.longest = lag_range[1]
        self.substeps = substeps
        self.euler = scheme == "euler"
        self.potential = Potential(self.axes * tokens, width)
        self.log_mass = nn.Parameter(torch.zeros(self.axes * tokens))
        self.raw_step = nn.Parameter(_raw_step(step))

    def energy(self, z: Tensor) -> Tensor:
        """H of tokens [batch, tokens, dim], [batch]."""
        q, p = z[..., : self.axes].flatten(1), z[..., self.axes :].flatten(1)
        kinetic = 0.5 * (p.square() * torch.exp(-self.log_mass)).sum(dim=-1)
        out: Tensor = kinetic + self.potential(q)
        return out

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Advance tokens z [batch, tokens, dim] by lag [batch]; a negative lag goes back. The noise is not used."""
        q, p = z[..., : self.axes].flatten(1), z[..., self.axes :].flatten(1)
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
        shape = [z.shape[0], z.shape[1], self.axes]
        return torch.cat([q.reshape(shape), p.reshape(shape)], dim=-1)

    def forward(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        return self.step(z, lag, noise)


class GeneralHamiltonianPredictor(nn.Module):
    """Latent motion under any H(q, p), by the implicit midpoint rule z' = z + h J ∇H((z + z')/2).

    Symplectic, time-reversible and of order two for every H (Hairer, Lubich & Wanner 2006, VI.4.1), up to the error of
    the fixed-point iteration, which shrinks by about h |∇²H| / 2 each time.
    """

    noise_size: int = 0

    def __init__(
        self,
        dim: int,
        lag_range: tuple[float, float],
        width: int = 64,
        tokens: int = 1,
        substeps: int = 1,
        step: float = 0.3,
        iterations: int = 10,
    ) -> None:
        super().__init__()
        self.axes = _check_dim(dim)
        self.longest = lag_range[1]
        self.substeps, self.iterations = substeps, iterations
        self.hamiltonian = Potential(dim * tokens, width)
        self.raw_step = nn.Parameter(_raw_step(step))

    def energy(self, z: Tensor) -> Tensor:
        """H of tokens [batch, tokens, dim], [batch]."""
        out: Tensor = self.hamiltonian(self._phase(z))
        return out

    def _phase(self, z: Tensor) -> Tensor:
        """Positions of all tokens, then momenta of all tokens."""
        return torch.cat([z[..., : self.axes].flatten(1), z[..., self.axes :].flatten(1)], dim=1)

    def _velocity(self, x: Tensor) -> Tensor:
        """J ∇H: (∂H/∂p, −∂H/∂q)."""
        gradient: Tensor = self.hamiltonian.gradient(x)
        n = x.shape[1] // 2
        return torch.cat([gradient[:, n:], -gradient[:, :n]], dim=1)

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Advance tokens z [batch, tokens, dim] by lag [batch]; a negative lag goes back. The noise is not used."""
        x = self._phase(z)
        h = (softplus(self.raw_step) / (self.longest * self.substeps) * lag).unsqueeze(1)
        for _ in range(self.substeps):
            start = x
            for _ in range(self.iterations):
                x = start + h * self._velocity(0.5 * (start + x))
        n = x.shape[1] // 2
        shape = [z.shape[0], z.shape[1], self.axes]
        return torch.cat([x[:, :n].reshape(shape), x[:, n:].reshape(shape)], dim=-1)

    def forward(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        return self.step(z, lag, noise)
