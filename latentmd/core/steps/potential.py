"""Predictors that follow an energy, a learned function of the latent with its gradient in closed form: Hamilton's
equations, separable by leapfrog or general by implicit midpoint, and Langevin's, for lags that momenta survive.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from latentmd.core.layers import Lags, LatentStep


class Potential(nn.Module):
    """V(x) = ½ |A x|² + w · σ(W₁ σ(W₀ x + b₀) + b₁), with σ the softplus: smooth, and confining through A. The gradient
    is written out rather than left to autograd, so that a step needs no graph at run time, works in TorchScript, and
    costs two more matrix products. A is `frame`, W₀ and b₀ are `first`, W₁ and b₁ are `second`, and w is `last`, zero
    at first.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.frame = nn.Parameter(torch.eye(inputs))
        self.first = nn.Linear(inputs, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """V of each row of x [batch, inputs], [batch]."""
        hidden = softplus(self.second(softplus(self.first(x))))
        return 0.5 * (x @ self.frame.t()).square().sum(dim=-1) + hidden @ self.last

    def gradient(self, x: Tensor) -> Tensor:
        """∇V of each row of x, [batch, inputs]."""
        inner = self.first(x)
        outer = torch.sigmoid(self.second(softplus(inner))) * self.last
        back = torch.sigmoid(inner) * (outer @ self.second.weight)
        return back @ self.first.weight + (x @ self.frame.t()) @ self.frame


class PhaseSpaceStep(LatentStep):
    """A step in `substeps` parts of tokens (q, p): positions are the first half of their axes, momenta the second."""

    def __init__(self, dim: int, lags: Lags, substeps: int) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"a token has {dim} axes; this predictor needs an even number, half of them momenta")
        self.axes, self.longest, self.substeps = dim // 2, lags[1], substeps

    def split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Positions and momenta of all tokens, each [batch, tokens · axes]."""
        return z[..., : self.axes].flatten(1), z[..., self.axes :].flatten(1)

    def join(self, q: Tensor, p: Tensor) -> Tensor:
        """The inverse of `split`."""
        shape = [q.shape[0], -1, self.axes]
        return torch.cat([q.reshape(shape), p.reshape(shape)], dim=-1)


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

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Tokens a lag later; a negative lag goes back."""
        x = torch.cat(self.split(z), dim=1)
        n = x.shape[1] // 2
        h = (softplus(self.raw_step) / (self.longest * self.substeps) * lag).unsqueeze(1)
        for _ in range(self.substeps):
            start = x
            for _ in range(self.iterations):
                gradient = self.hamiltonian.gradient(0.5 * (start + x))
                x = start + h * torch.cat([gradient[:, n:], -gradient[:, :n]], dim=1)  # J ∇H: (∂H/∂p, −∂H/∂q)
        return self.join(x[:, :n], x[:, n:])


class LangevinPredictor(PhaseSpaceStep):
    """dq = M⁻¹ p dt,  dp = −∇V(q) dt − γ p dt + √(2 γ M kT) dW at kT = 1, by BAOAB (Leimkuhler & Matthews 2013).

    B: p ← p − h/2 ∇V(q)   A: q ← q + h/2 M⁻¹ p   O: p ← c p + √((1 − c²) M) ξ,  c = exp(−γ h)   A   B

    The noise follows from the friction (fluctuation–dissipation), so that the stationary density is exp(−H) up to the
    error of the step, whatever V, M and γ are.

    Of a token's axes the first half are q; the second half are p̃ = s T p, which leaves a latent its own scale of
    momenta, in which dq = s p̃ dt and the variance of p̃ is T. The parameters are those that the likelihood sees
    separately; M, V and the scale of the momenta follow from them and kT = 1:

    | symbol | code | meaning |
    |---|---|---|
    | s | `log_speed` | velocity per p̃; one per axis, time in units of the longest lag |
    | γ | `log_friction` | |
    | 2 γ T | `log_diffusion` | T = variance of p̃; M = 1/(s² T) |
    | U | `potential` | V = U / mean(s T); force on p̃ᵢ is −sᵢ Tᵢ ∂ᵢV |
    | r | `log_slack` | see `log_likelihood` |

    For lags much longer than 1/γ momenta are forgotten within a step and this form does not hold: use a flow there.
    """

    def __init__(self, dim: int, lags: Lags, width: int = 64, tokens: int = 1, substeps: int = 1) -> None:
        super().__init__(dim, lags, substeps)
        n = self.axes * tokens
        self.noise_size = n * substeps
        self.potential = Potential(n, width)
        self.log_speed = nn.Parameter(torch.zeros(n))
        self.log_friction = nn.Parameter(torch.zeros(n))
        self.log_diffusion = nn.Parameter(torch.full((n,), math.log(2.0)))
        self.log_slack = nn.Parameter(torch.full((n,), -2.0))

    def _temperature(self) -> Tensor:
        """T, the stationary variance of p̃, [axes]."""
        return 0.5 * torch.exp(self.log_diffusion - self.log_friction)

    def energy(self, z: Tensor) -> Tensor:
        """H = ½ pᵀ M⁻¹ p + V(q) in units of kT, of tokens [batch, tokens, dim], [batch]."""
        q, p = self.split(z)
        temperature = self._temperature()
        potential: Tensor = self.potential(q) / (torch.exp(self.log_speed) * temperature).mean()
        return 0.5 * (p.square() / temperature).sum(dim=-1) + potential

    def _force(self, q: Tensor) -> Tensor:
        """On p̃: −s T ∇V, [batch, axes]."""
        scale = torch.exp(self.log_speed) * self._temperature()
        return -(scale / scale.mean()) * self.potential.gradient(q)

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """One draw of z(t + lag), [batch, tokens, dim]; noise [batch, noise_size] standard normal."""
        q, p = self.split(z)
        h = (lag / (self.longest * self.substeps)).unsqueeze(1)
        speed = torch.exp(self.log_speed)
        kept = torch.exp(-torch.exp(self.log_friction) * h)
        spread = torch.sqrt((1 - kept.square()) * self._temperature())
        draws = noise.reshape(z.shape[0], self.substeps, q.shape[1])
        force = self._force(q)
        for i in range(self.substeps):
            p = p + 0.5 * h * force
            q = q + 0.5 * h * speed * p
            p = kept * p + spread * draws[:, i]
            q = q + 0.5 * h * speed * p
            force = self._force(q)
            p = p + 0.5 * h * force
        return self.join(q, p)

    def log_likelihood(self, z: Tensor, lag: Tensor, future: Tensor) -> Tensor:
        """ln p(future | z, lag), [batch], of one BAOAB step whose drifts carry a small displacement of their own.

        One normal number per axis moves both q' and p̃', so that BAOAB alone has no density in phase space. With
        u = p̃' − h/2 f(q') (before the last kick) and u₀ = p̃ + h/2 f(q) (after the first), a step leaves over

            ξ = (u − c u₀) / √((1 − c²) T)      of the momenta, standard normal
            η = q' − q − h/2 s (u₀ + u)         of the positions, normal of deviation r h

        and (q', p̃') → (η, ξ) has the Jacobian determinant 1/√((1 − c²) T) per axis. True Langevin paths have such a
        displacement, of variance 2 γ T s² h³ / 12 and nearly independent of ξ; the step itself, exact to second order
        without it, leaves it out.
        """
        q, p = self.split(z)
        q_next, p_next = self.split(future)
        h = (lag / self.longest).unsqueeze(1)
        kept = torch.exp(-torch.exp(self.log_friction) * h)
        spread = torch.sqrt((1 - kept.square()) * self._temperature())
        before = p + 0.5 * h * self._force(q)
        after = p_next - 0.5 * h * self._force(q_next)
        xi = (after - kept * before) / spread
        slack = torch.exp(self.log_slack) * h
        eta = (q_next - q - 0.5 * h * torch.exp(self.log_speed) * (before + after)) / slack
        log_density = -0.5 * (xi.square() + eta.square()) - torch.log(spread) - torch.log(slack)
        return (log_density - math.log(2 * math.pi)).sum(dim=-1)

    @torch.jit.unused
    @torch.no_grad()
    def match_moments(self, z: Tensor, lag: float, future: Tensor) -> None:
        """Start from linear oscillators with the data's moments, one per axis: regressions q' − q = h s (p̃ + p̃')/2
        and p̃' = c p̃ − κ q + ε give speed, friction, diffusion 2 γ Var ε / (1 − c²) and the stiffness of U.
        """
        h = lag / self.longest
        (q, p), (q_next, p_next) = self.split(z), self.split(future)
        mean = 0.5 * (p + p_next)
        speed = ((q_next - q) * mean).sum(0) / (h * mean.square().sum(0))
        inputs = torch.stack([p - p.mean(0), q - q.mean(0)], dim=-1).permute(1, 0, 2)  # [axes, pairs, 2]
        targets = (p_next - p_next.mean(0)).t().unsqueeze(-1)
        solution = torch.linalg.lstsq(inputs, targets).solution
        kept = solution[:, 0, 0].clamp(0.02, 0.998)
        friction = -torch.log(kept) / h
        temperature = (targets - inputs @ solution).square().mean(dim=(1, 2)) / (1 - kept.square())
        self.log_speed.copy_(torch.log(speed.clamp_min(1e-4)))
        self.log_friction.copy_(torch.log(friction))
        self.log_diffusion.copy_(torch.log(2 * friction * temperature))
        stiffness = -solution[:, 1, 0] / (0.5 * h * (1 + kept))
        self.potential.frame.copy_(torch.diag(stiffness.clamp_min(1e-3).sqrt()))
