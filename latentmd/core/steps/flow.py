"""Stochastic predictor: conditional flow matching on a standardised residual (Lipman et al. 2023; Liu et al. 2023)."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import LagEmbedding, Lags, LatentStep, TokenTrunk

_TIME_FEATURES = 9


def time_features(u: Tensor) -> Tensor:
    """Fourier features of flow time, [batch] in [0, 1] → [batch, 9]."""
    phase = torch.pi * u.unsqueeze(-1) * torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=u.dtype, device=u.device)
    return torch.cat([u.unsqueeze(-1), phase.sin(), phase.cos()], dim=-1)


class ConditionalFlow(nn.Module):
    """A sampler of p(y | c, g): mean μ, diagonal scale σ, and a flow for the standardised residual r = (y − μ)/σ.

    | symbol | code | meaning |
    |---|---|---|
    | μ(c, g), ln σ(c, g) | `moments` | trained by squared error and by Gaussian likelihood with μ held fixed |
    | r_u = (1 − u) ε + u r | `loss` | straight path from normal noise ε to the residual |
    | v(r_u, u; c, g) | `velocity` | trained to r − ε; the sample solves dr/du = v from u = 0 to 1 |

    y [batch, tokens, dim], c [batch, tokens, context], g [batch, condition]; with more than one token, tokens see each
    other. A sample takes `solver_steps` midpoint steps, two network calls each.
    """

    def __init__(
        self, dim: int, context: int, condition: int, width: int, depth: int, tokens: int = 1, solver_steps: int = 6
    ) -> None:
        super().__init__()
        self.dim, self.tokens, self.condition = dim, tokens, condition
        self.solver_steps, self.noise_size = solver_steps, dim * tokens
        mix = tokens > 1
        self.moment_net = TokenTrunk(context, 2 * dim, max(condition, 1), width, depth, mix)
        self.velocity_net = TokenTrunk(2 * dim + context + dim, dim, condition + _TIME_FEATURES, width, depth, mix)

    def moments(self, c: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Conditional mean and log scale, each [batch, tokens, dim]."""
        g = g if self.condition > 0 else torch.zeros(c.shape[0], 1, dtype=c.dtype, device=c.device)
        mean, log_scale = self.moment_net(c, g).chunk(2, dim=-1)
        return mean, log_scale.clamp(-5.0, 3.0)

    def velocity(self, r: Tensor, u: Tensor, c: Tensor, mean: Tensor, log_scale: Tensor, g: Tensor) -> Tensor:
        """Velocity of the flow [batch, tokens, dim] at r, in units of the scale, at time u, 0 (noise) to 1 (data)."""
        condition = time_features(u)
        if self.condition > 0:
            condition = torch.cat([condition, g], dim=-1)
        out: Tensor = self.velocity_net(torch.cat([r, mean, log_scale, c], dim=-1), condition)
        return out

    def loss(self, y: Tensor, c: Tensor, g: Tensor, noise: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Squared error of the mean, Gaussian negative log-likelihood of the scale, and flow-matching loss at u."""
        mean, log_scale = self.moments(c, g)
        error = y - mean
        fixed = error.detach()
        likelihood = (log_scale + 0.5 * fixed**2 * torch.exp(-2 * log_scale)).mean()
        mean, log_scale = mean.detach(), log_scale.detach()
        r = fixed * torch.exp(-log_scale)
        w = u.reshape(-1, 1, 1)
        predicted = self.velocity((1 - w) * noise + w * r, u, c, mean, log_scale, g)
        return (error**2).mean(), likelihood, ((predicted - (r - noise)) ** 2).mean()

    def sample(self, c: Tensor, g: Tensor, noise: Tensor) -> Tensor:
        """Draw y [batch, tokens, dim] from standard normal noise [batch, noise_size] (midpoint rule)."""
        mean, log_scale = self.moments(c, g)
        r = noise.reshape(mean.shape)
        h = 1.0 / self.solver_steps
        ones = torch.ones(c.shape[0], dtype=c.dtype, device=c.device)
        for i in range(self.solver_steps):
            half = r + 0.5 * h * self.velocity(r, i * h * ones, c, mean, log_scale, g)
            r = r + h * self.velocity(half, (i + 0.5) * h * ones, c, mean, log_scale, g)
        return mean + torch.exp(log_scale) * r


class FlowPredictor(LatentStep):
    """Stochastic latent step p(z' | z, τ) = Σ_m π_m(z, τ) p_m(z' | z, τ) for any lag τ in a range, where m is the cell
    of z' (its nearest of the centres [cells, axes]) and p_m a conditional flow. The weights π are trained by
    cross-entropy, so that rare jumps are fitted as frequencies (compare MarS-FM, 2025); one centre gives the plain
    conditional flow.
    """

    def __init__(
        self,
        dim: int,
        lags: Lags,
        width: int = 128,
        depth: int = 3,
        tokens: int = 1,
        solver_steps: int = 6,
        centres: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.size = dim * tokens
        self.centres = nn.Buffer(torch.zeros(1, self.size) if centres is None else centres.clone())
        self.cells = self.centres.shape[0]
        self.lag = LagEmbedding(lags[0], lags[1], 32)
        self.weights = TokenTrunk(self.size + self.cells, self.cells, 32, width, 2)
        self.flow = ConditionalFlow(dim, dim + self.cells, 32, width, depth, tokens, solver_steps)
        self.noise_size = self.flow.noise_size + 1

    def cell(self, z: Tensor) -> Tensor:
        """Index of the nearest centre, [batch]."""
        return torch.cdist(z.flatten(1), self.centres).argmin(dim=1)

    def log_weights(self, z: Tensor, g: Tensor) -> Tensor:
        """ln π [batch, cells] given tokens z and the embedded lag g."""
        own = nn.functional.one_hot(self.cell(z), self.cells).to(z.dtype)
        inputs = torch.cat([z.flatten(1), own], dim=1).unsqueeze(1)
        return torch.log_softmax(self.weights(inputs, g).squeeze(1), dim=-1)

    def context(self, z: Tensor, cell: Tensor) -> Tensor:
        """What the flow is conditioned on: the tokens and the cell to arrive in."""
        one_hot = nn.functional.one_hot(cell, self.cells).to(z.dtype).unsqueeze(1)
        return torch.cat([z, one_hot.expand(-1, z.shape[1], -1)], dim=-1)

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """One draw of z(t + lag), [batch, tokens, dim]; noise [batch, noise_size], the first chooses the cell."""
        g = self.lag(lag)
        uniform = 0.5 * (1 + torch.erf(noise[:, :1] / 1.4142135623730951))
        cell = (self.log_weights(z, g).exp().cumsum(-1) < uniform).sum(-1).clamp(max=self.cells - 1)
        return self.flow.sample(self.context(z, cell), g, noise[:, 1:])

    def mean_step(self, z: Tensor, lag: Tensor) -> Tensor:
        """The conditional mean of z(t + lag): the cells' means, weighted."""
        g = self.lag(lag)
        weights = self.log_weights(z, g).exp()
        mean = torch.zeros_like(z)
        for m in range(self.cells):
            cell = torch.full((z.shape[0],), m, dtype=torch.long, device=z.device)
            mean = mean + weights[:, m].reshape(-1, 1, 1) * self.flow.moments(self.context(z, cell), g)[0]
        return mean

    def loss(
        self, z: Tensor, lag: Tensor, future: Tensor, noise: Tensor, u: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Losses of pairs (z, future) at lags [batch]: cross-entropy of the cell, then those of `ConditionalFlow`."""
        g = self.lag(lag)
        cell = self.cell(future)
        entropy = nn.functional.nll_loss(self.log_weights(z, g), cell)
        mean, scale, flow = self.flow.loss(future, self.context(z, cell), g, noise, u)
        return entropy, mean, scale, flow
