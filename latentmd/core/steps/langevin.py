"""Stochastic predictor of underdamped Langevin form, for lags that momenta survive."""

import math

import torch
from torch import Tensor, nn

from latentmd.core.layers import Lags
from latentmd.core.steps.potential import PhaseSpaceStep, Potential


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
