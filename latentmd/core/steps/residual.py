"""Deterministic predictors: the residual one that JEPA training uses, a plain baseline, and messages of tokens."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import LagEmbedding, Lags, LatentStep, TokenTrunk, mlp, zeroed


class ResidualPredictor(LatentStep):
    """ẑ(t + τ) = z(t) + f(z(t), τ), the conditional mean: rollouts lose variance and must never be histogrammed."""

    def __init__(self, dim: int, lags: Lags, width: int = 96, depth: int = 2, tokens: int = 1) -> None:
        super().__init__()
        self.lag = LagEmbedding(lags[0], lags[1], width)
        self.trunk = TokenTrunk(dim, dim, width, width, depth, mix_tokens=tokens > 1)

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Tokens z [batch, tokens, dim] a lag later; the noise is not used."""
        out: Tensor = z + self.trunk(z, self.lag(lag))
        return out


class MLPPredictor(LatentStep):
    """ẑ(t + τ) = f(z(t), ln τ): no residual, no structure, all tokens flattened."""

    def __init__(self, dim: int, lags: Lags, width: int = 96, depth: int = 2, tokens: int = 1) -> None:
        super().__init__()
        self.longest = lags[1]
        self.network = mlp([dim * tokens + 1, *depth * [width], dim * tokens])

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Tokens z [batch, tokens, dim] a lag later; the noise is not used."""
        inputs = torch.cat([z.flatten(1), torch.log(lag / self.longest).unsqueeze(1)], dim=1)
        out: Tensor = self.network(inputs).reshape(z.shape)
        return out


class _MessageLayer(nn.Module):
    """One E(n)-equivariant layer over all ordered pairs of nodes (Satorras et al. 2021, equations 3 to 6)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.message = mlp([3 * width + 1, width, width])
        self.weight = mlp([width, width, 1], last_zero=True)
        self.update = mlp([3 * width, width, width])

    def forward(self, h: Tensor, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        batch, nodes, width = h.shape
        own = h.unsqueeze(2).expand(batch, nodes, nodes, width)
        other = h.unsqueeze(1).expand(batch, nodes, nodes, width)
        arrow = x.unsqueeze(2) - x.unsqueeze(1)
        distance = arrow.square().sum(dim=-1, keepdim=True)
        lag = condition.reshape(batch, 1, 1, width).expand(batch, nodes, nodes, width)
        message = nn.functional.silu(self.message(torch.cat([own, other, lag, distance], dim=-1)))
        # A node sends nothing to itself, and the mean over the others keeps its size whatever their number.
        others = (1 - torch.eye(nodes, dtype=h.dtype, device=h.device)).unsqueeze(-1) / max(nodes - 1, 1)
        # The arrow is divided by 1 + |arrow| so that far nodes do not blow up.
        pull = arrow / (1 + torch.sqrt(distance + 1e-12)) * self.weight(message)
        x = x + (others * pull).sum(dim=2)
        condition = condition.unsqueeze(1).expand(batch, nodes, width)
        h = h + self.update(torch.cat([h, (others * message).sum(dim=2), condition], dim=-1))
        return h, x


class EGNNPredictor(LatentStep):
    """ẑ(t + τ) from messages between all pairs of tokens, which may be exchanged. A token is (x, h): the first
    `coordinates` axes turn and shift with the prediction, the others are invariant.
    """

    def __init__(self, dim: int, lags: Lags, width: int = 48, depth: int = 2, coordinates: int = 0) -> None:
        super().__init__()
        if not 0 <= coordinates < dim:
            raise ValueError(f"{coordinates} of {dim} axes are to be coordinates; expected at least one feature axis")
        self.coordinates = coordinates
        self.lag = LagEmbedding(lags[0], lags[1], width)
        self.read = nn.Linear(dim - coordinates, width)
        self.layers = nn.ModuleList([_MessageLayer(width) for _ in range(depth)])
        self.write = zeroed(nn.Linear(width, dim - coordinates))

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Tokens z [batch, tokens, dim] a lag later; the noise is not used."""
        x, features = z[..., : self.coordinates], z[..., self.coordinates :]
        condition = self.lag(lag)
        h = self.read(features)
        for layer in self.layers:
            h, x = layer(h, x, condition)
        return torch.cat([x, features + self.write(nn.functional.silu(h))], dim=-1)
