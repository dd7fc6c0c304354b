"""Encoders of observations that are vectors: a perceptron, the standardised vector itself, an LSTM over a history."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import Standardised, mlp


class SequenceEncoder(Standardised):
    """Histories [batch, time, features] → tokens [batch, tokens, dim], by an LSTM (Hochreiter & Schmidhuber 1997) that
    also reads each vector's change, standardised by itself; the token is read from its last state and the last vector.
    """

    def __init__(self, observations: Tensor, tokens: int = 1, dim: int = 32, width: int = 64, depth: int = 1) -> None:
        shape = tuple(observations.shape)
        if len(shape) != 3 or shape[1] < 2:
            raise ValueError(f"observations have shape {shape}; expected [batch, time, features] of two or more times")
        features = shape[2]
        inputs = _with_changes(observations)[:, 1:].flatten(0, 1)
        super().__init__(inputs.mean(0), inputs.std(0))
        self.tokens, self.dim = tokens, dim
        self.recurrent = nn.LSTM(2 * features, width, depth, batch_first=True)
        self.read = nn.Linear(width + features, tokens * dim)

    def forward(self, obs: Tensor) -> Tensor:
        """Histories [batch, time, features], oldest first, of any length → tokens [batch, tokens, dim]."""
        x = (_with_changes(obs) - self.mean) / self.scale
        states, _ = self.recurrent(x)
        out: Tensor = self.read(torch.cat([states[:, -1], x[:, -1, : obs.shape[2]]], dim=-1))
        return out.reshape(obs.shape[0], self.tokens, self.dim)


def _with_changes(obs: Tensor) -> Tensor:
    """[batch, time, features] → [batch, time, 2 · features]; the first change is zero."""
    change = torch.cat([torch.zeros_like(obs[:, :1]), obs[:, 1:] - obs[:, :-1]], dim=1)
    return torch.cat([obs, change], dim=-1)


class VectorEncoder(Standardised):
    """Vectors, or a short history (the newest and successive differences, standardised), → tokens, by a perceptron."""

    def __init__(self, observations: Tensor, tokens: int = 1, dim: int = 16, width: int = 96, depth: int = 2) -> None:
        inputs = _newest_and_differences(observations)
        super().__init__(inputs.mean(0), inputs.std(0))
        self.tokens, self.dim = tokens, dim
        self.network = mlp([inputs.shape[1], *depth * [width], tokens * dim])

    def forward(self, obs: Tensor) -> Tensor:
        """Observations [batch, features] or [batch, history, features] → tokens [batch, tokens, dim]."""
        inputs = (_newest_and_differences(obs) - self.mean) / self.scale
        out: Tensor = self.network(inputs).reshape(obs.shape[0], self.tokens, self.dim)
        return out


def _newest_and_differences(obs: Tensor) -> Tensor:
    if obs.dim() == 2:
        return obs
    return torch.cat([obs[:, -1], (obs[:, 1:] - obs[:, :-1]).flatten(1)], dim=1)


class StandardEncoder(Standardised):
    """The standardised vector (of a history the newest, then successive differences) as one token."""

    def __init__(self, observations: Tensor) -> None:
        inputs = _newest_and_differences(observations)
        super().__init__(inputs.mean(0), inputs.std(0))

    def forward(self, obs: Tensor) -> Tensor:
        """Observations [batch, features] or [batch, history, features] → one token [batch, 1, history · features]."""
        return ((_newest_and_differences(obs) - self.mean) / self.scale).unsqueeze(1)
