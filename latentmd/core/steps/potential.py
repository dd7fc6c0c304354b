"""A learned scalar function with its gradient in closed form, for predictors that follow an energy."""

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
