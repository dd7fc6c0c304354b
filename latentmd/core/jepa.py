"""Joint-embedding predictive training of any encoder and predictor (LeCun 2022; Assran et al. 2023)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from latentmd.core.objectives import Regularisation, conservation_loss, spectral_loss

Matching = Literal["mse", "cosine"]


class Losses(NamedTuple):
    """Weighted total and its unweighted terms, all scalars; `gain` is 1 − prediction error / persistence error."""

    total: Tensor
    prediction: Tensor
    variance: Tensor
    covariance: Tensor
    ground: Tensor
    gain: Tensor
    conservation: Tensor
    spectral: Tensor


def momentum_schedule(step: int, total: int, start: float) -> float:
    """EMA momentum that rises from `start` to 1 along half a cosine (Grill et al. 2020)."""
    return 1 - (1 - start) * (math.cos(math.pi * min(step / max(total, 1), 1.0)) + 1) / 2


@dataclass(frozen=True)
class Scheme:
    """How the target follows the encoder (`ema`; None: it is the encoder), how latents are compared, what is hidden.

    `mask` is the probability with which a token of the context is hidden from the predictor; `regularise` applies the
    objective to o_0 alone ("context") or to every observation ("sequence").
    """

    ema: float | None = 0.99
    matching: Matching = "mse"
    mask: float = 0.0
    regularise: Literal["context", "sequence"] = "context"


class Guide(NamedTuple):
    """A further term of the loss and its weight, 0 for none."""

    module: Any
    weight: float

    @property
    def used(self) -> Any:
        """The module, or None where it has no weight."""
        return self.module if self.weight > 0 else None


_NONE = Guide(None, 0.0)


class JEPA(nn.Module):
    """Predict the target encoder's latents of future observations from the encoder's latent of the present one.

    L = mean_k d(ẑ_k, sg z̄(o_k)) + R(z), with ẑ_0 = z(o_0) and ẑ_{k+1} = g(ẑ_k, τ): the predictor is unrolled over the
    whole sequence. The target z̄ is an exponential moving average of the encoder, or, with `ema=None`, the encoder
    itself with gradients, as SIGReg allows. Observations are opaque: only the encoder looks inside.

    Args:
        ground: read-out with `loss(axes, observation)` that keeps what cannot be predicted but must be decodable;
            prediction alone lets such axes shrink.
        conserved: tokens → [batch], a quantity that the rollout should keep, such as the energy of a Hamiltonian
            predictor; its drift along the rollout (`conservation_loss`) is added to the loss.
        spectral: read-out of axes [batch, axes] → slow features; it and the encoder learn the leading eigenfunctions of
            the transfer operator between o_0 and o_K (`spectral_loss`), so that the latent resolves the slow processes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        predictor: nn.Module,
        objective: Callable[[Tensor], Regularisation],
        *,
        dim: int,
        scheme: Scheme = Scheme(),
        ground: Guide = _NONE,
        conserved: Guide = _NONE,
        spectral: Guide = _NONE,
    ) -> None:
        super().__init__()
        self.spectral, self.spectral_weight = spectral.used, spectral.weight
        self.conserved, self.conserved_weight = conserved.used, conserved.weight
        self.ground, self.ground_weight = ground.used, ground.weight
        self.encoder, self.predictor, self.objective, self.scheme = encoder, predictor, objective, scheme
        self.hidden = nn.Parameter(torch.zeros(dim))
        self.target = encoder if scheme.ema is None else copy.deepcopy(encoder).requires_grad_(False)

    def forward(self, observations: Sequence[Any], lag: Tensor, generator: torch.Generator) -> Losses:
        """Losses of a batch of sequences o_0 … o_K that are `lag` [batch] apart."""
        z = self.encoder(observations[0])
        targets, encoded = self._targets(observations, z)
        predicted, errors, persistence = self._hide(z, generator), [], []
        no_noise = z.new_zeros(z.shape[0], 0)
        path = [predicted]
        for target in targets:
            predicted = self.predictor.step(predicted, lag, no_noise)  # type: ignore[operator]
            path.append(predicted)
            errors.append(self._distance(predicted, target))
            persistence.append(self._distance(z.detach(), target.detach()))
        terms = [self.objective(latent.flatten(1)) for latent in encoded]
        prediction = torch.stack(errors).mean()
        ground = conservation = spectral = z.new_zeros(())
        if self.ground is not None:
            ground = self.ground.loss(z.flatten(1), observations[0])
        if self.conserved is not None:
            conservation = conservation_loss([self.conserved(latent) for latent in path])
        if self.spectral is not None:
            spectral = spectral_loss(self.spectral(z.flatten(1)), self.spectral(targets[-1].flatten(1)))
        regularisation = torch.stack([t.total for t in terms]).mean()
        extra = self.ground_weight * ground + self.conserved_weight * conservation + self.spectral_weight * spectral
        return Losses(
            prediction + regularisation + extra,
            prediction.detach(),
            torch.stack([t.variance for t in terms]).mean().detach(),
            torch.stack([t.covariance for t in terms]).mean().detach(),
            ground.detach(),
            1 - prediction.detach() / torch.stack(persistence).mean().clamp_min(1e-12),
            conservation.detach(),
            spectral.detach(),
        )

    def _targets(self, observations: Sequence[Any], z: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Targets of o_1 … o_K, and the encodings (with gradients) that the objective sees."""
        if self.scheme.ema is None:
            future = [self.encoder(o) for o in observations[1:]]
            return future, [z, *future]
        with torch.no_grad():
            targets = [self.target(o) for o in observations[1:]]
        if self.scheme.regularise == "sequence":
            return targets, [z, *(self.encoder(o) for o in observations[1:])]
        return targets, [z]

    def _hide(self, z: Tensor, generator: torch.Generator) -> Tensor:
        if self.scheme.mask <= 0:
            return z
        keep = (torch.rand(z.shape[:2], generator=generator) >= self.scheme.mask).to(z).unsqueeze(-1)
        return keep * z + (1 - keep) * self.hidden

    def _distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        if self.scheme.matching == "cosine":
            return (1 - nn.functional.cosine_similarity(predicted, target, dim=-1)).mean()
        return (predicted - target).square().mean()

    @torch.no_grad()
    def update_target(self, momentum: float) -> None:
        """z̄ ← m z̄ + (1 − m) z, parameter by parameter; a no-op without a separate target."""
        if self.scheme.ema is None:
            return
        for slow, fast in zip(self.target.parameters(), self.encoder.parameters(), strict=True):
            slow.lerp_(fast, 1 - momentum)
        for kept, current in zip(self.target.buffers(), self.encoder.buffers(), strict=True):
            kept.copy_(current)
