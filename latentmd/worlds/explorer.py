"""A small JEPA surrogate of a vector state, trained in about a second: encoder, stochastic predictor and decoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from latentmd.arrays import Floats
from latentmd.core.jepa import JEPA
from latentmd.core.layers import mlp
from latentmd.core.objectives import VarianceCovariance
from latentmd.core.steps.mixture import MixturePredictor
from latentmd.core.steps.residual import ResidualPredictor

_DIM = 4
_WIDTH = 32
_BATCH = 256
_STEPS = 150  # of each stage
_ROLLOUT = 10  # latent steps of a proposal


class _Encoder(nn.Module):
    """State (batch, d) → one token [batch, 1, 4]; the state is scaled by the training data."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.network = mlp([size, _WIDTH, _DIM])

    mean: Tensor
    scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network((x - self.mean) / self.scale)
        return out.unsqueeze(1)


class LatentExplorer:
    """Latent rollouts of a vector state, decoded.

    Training follows the library's stages: joint-embedding prediction of the encoder with a residual predictor, then a
    mixture predictor by likelihood and a decoder by squared error on the frozen latent.

    Args:
        size: numbers in a state.
        lag: of a latent step, frames.
        seed: of the weights; until `refine` they are random, and so is everything that is proposed.
        fixed: never learn again, to see what a bad surrogate does.
    """

    def __init__(self, size: int, lag: int, seed: int, fixed: bool = False) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.encoder = _Encoder(size)
            self.predictor = MixturePredictor(_DIM, (1.0, 1.0), components=6, width=_WIDTH, depth=1)
            self.decoder = mlp([_DIM, _WIDTH, size])
        self.size, self.lag, self.fixed = size, lag, fixed

    def features(self, positions: Floats) -> Floats:
        """Latents (n, 4) of states (n, d)."""
        with torch.no_grad():
            latent = self.encoder(torch.as_tensor(positions, dtype=torch.float32))
        return np.asarray(latent.flatten(1).double().numpy())

    def propose(self, starts: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Ends of latent rollouts, decoded (count, d), from states (m, d) taken in turn.

        Args:
            starts: states (m, d).
            count: number of proposals.
            rng: source of all noise.
        """
        with torch.no_grad():
            z = self.encoder(torch.as_tensor(starts[np.arange(count) % len(starts)], dtype=torch.float32))
            for _ in range(_ROLLOUT):
                noise = rng.standard_normal((count, self.predictor.noise_size), dtype=np.float32)
                z = self.predictor.step(z, torch.ones(count), torch.from_numpy(noise))
            x = self.decoder(z.flatten(1)) * self.encoder.scale + self.encoder.mean
        return np.asarray(x.double().numpy())

    def disagreement(self, latents: Floats) -> Floats | None:
        """None: this surrogate has no ensemble."""
        return None

    def error(self, trajectories: Sequence[Floats]) -> float:
        """Mean squared error of the decoded mean prediction over that of predicting the mean state."""
        now, later = _pairs(trajectories, self.lag)
        with torch.no_grad():
            z = self.predictor.mean_step(self.encoder(now), torch.ones(len(now)))
            x = self.decoder(z.flatten(1)) * self.encoder.scale + self.encoder.mean
        return float(((x - later) / self.encoder.scale).square().mean())

    def refine(self, trajectories: Sequence[Floats], seed: int) -> LatentExplorer:
        """An explorer trained from scratch on trajectories (frames, d)."""
        return self if self.fixed else trained(trajectories, self.lag, seed)

    def save(self, folder: Path) -> None:
        """Write the weights."""
        networks = [self.encoder.state_dict(), self.predictor.state_dict(), self.decoder.state_dict()]
        content = {"size": self.size, "lag": self.lag, "fixed": self.fixed, "networks": networks}
        torch.save(content, folder / "explorer.pt")


def load_explorer(folder: Path) -> LatentExplorer:
    """The explorer saved in a folder."""
    content = torch.load(folder / "explorer.pt", weights_only=True)
    explorer = LatentExplorer(content["size"], content["lag"], 0, content["fixed"])
    for network, weights in zip(
        (explorer.encoder, explorer.predictor, explorer.decoder), content["networks"], strict=True
    ):
        network.load_state_dict(weights)
    return explorer


def trained(trajectories: Sequence[Floats], lag: int, seed: int, fixed: bool = False) -> LatentExplorer:
    """An explorer trained on trajectories (frames, d); arguments as for `LatentExplorer`.

    Args:
        trajectories: each (frames, d).
        lag: in frames.
        seed: of weights and batches.
        fixed: as for `LatentExplorer`.
    """
    now, later = _pairs(trajectories, lag)
    explorer = LatentExplorer(now.shape[1], lag, seed, fixed)
    encoder, generator = explorer.encoder, torch.Generator().manual_seed(seed)
    encoder.mean, encoder.scale = now.mean(0), now.std(0).clamp_min(1e-6)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        jepa = JEPA(encoder, ResidualPredictor(_DIM, (1.0, 1.0), _WIDTH, 1), VarianceCovariance(), dim=_DIM)
    target = (now - encoder.mean) / encoder.scale

    def embed(rows: Tensor) -> Tensor:
        jepa.update_target(0.99)
        total: Tensor = jepa([now[rows], later[rows]], torch.ones(len(rows)), generator).total
        return total

    def likelihood(rows: Tensor) -> Tensor:
        z, future = encoder(now[rows]).detach(), encoder(later[rows]).detach()
        reconstruction = (explorer.decoder(z.flatten(1)) - target[rows]).square().mean()
        likely: Tensor = explorer.predictor.log_likelihood(z, torch.ones(len(rows)), future)
        return torch.as_tensor(reconstruction - likely.mean())

    heads = [*explorer.predictor.parameters(), *explorer.decoder.parameters()]
    for loss, parameters in ((embed, [p for p in jepa.parameters() if p.requires_grad]), (likelihood, heads)):
        optimiser = torch.optim.Adam(parameters, lr=3e-3)
        for _ in range(_STEPS):
            optimiser.zero_grad()
            loss(torch.randint(len(now), (_BATCH,), generator=generator)).backward()
            optimiser.step()
    return explorer


def _pairs(trajectories: Sequence[Floats], lag: int) -> tuple[Tensor, Tensor]:
    """All pairs one lag apart within a trajectory, (n, d) each."""
    paths = [np.asarray(path, dtype=np.float32) for path in trajectories]
    now, later = (np.concatenate(part) for part in ([p[:-lag] for p in paths], [p[lag:] for p in paths]))
    return torch.from_numpy(now), torch.from_numpy(later)
