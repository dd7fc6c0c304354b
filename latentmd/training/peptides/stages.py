"""The stages of training a model of many peptides: latent, basis, step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from latentmd.core.basis import TypeCovariances
from latentmd.core.jepa import JEPA, Guide, Scheme, momentum_schedule
from latentmd.core.objectives import Regularisation, VarianceCovariance
from latentmd.core.steps.angles import EVER, NOW
from latentmd.encoders.chain import ChainEncoder
from latentmd.model.peptides import SIZES, PeptideModel
from latentmd.molecule.chain import SLOTS
from latentmd.training.embedding import device_of
from latentmd.training.loop import Optimisation, Stage
from latentmd.training.peptides.data import Batch, Sampler

_MOMENTUM = 0.99  # of the target encoder, at the start
_LOGGED = ("prediction", "variance", "covariance", "ground", "gain")  # losses of the latent beside the total


class _Observation(NamedTuple):
    angles: Tensor
    types: Tensor
    mask: Tensor


class _Observed(nn.Module):
    """The encoder as a function of one observation, as `JEPA` calls it."""

    def __init__(self, encoder: ChainEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, obs: _Observation) -> Tensor:
        out: Tensor = self.encoder(*obs)
        return out


class WithinMolecules(nn.Module):
    """An objective on tokens' deviations from their mean over the `rows` of one molecule in a batch."""

    def __init__(self, objective: nn.Module, rows: int, dim: int) -> None:
        super().__init__()
        self.objective, self.rows, self.dim = objective, rows, dim

    def forward(self, z: Tensor) -> Regularisation:
        """z [molecules · rows, tokens · dim]."""
        grouped = z.reshape(-1, self.rows, z.shape[1])
        out: Regularisation = self.objective((grouped - grouped.mean(1, keepdim=True)).reshape(-1, self.dim))
        return out


class TorsionGround(nn.Module):
    """Linear read-out, by residue type, of cosines and sines of torsions: what must stay in the latent."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.weight = nn.Parameter(torch.randn(SIZES[0], dim, 2 * len(SLOTS)) / dim**0.5)
        self.bias = nn.Parameter(torch.zeros(SIZES[0], 2 * len(SLOTS)))

    def loss(self, axes: Tensor, obs: _Observation) -> Tensor:
        """Mean squared error over torsions that exist; axes [batch, tokens · dim]."""
        kind = obs.types[..., 0]
        z = axes.reshape(*kind.shape, self.dim)
        read = torch.einsum("btd,btdo->bto", z, self.weight[kind]) + self.bias[kind]
        target = torch.cat([obs.angles.cos(), obs.angles.sin()], dim=-1)
        mask = torch.cat([obs.mask, obs.mask], dim=-1).to(z.dtype)
        return ((read - target).square() * mask).sum() / mask.sum()


def latent_stage(
    model: PeptideModel, sampler: Sampler, shape: tuple[int, int], *, seconds: float, seed: int, name: str = "latent"
) -> Stage:
    """Joint-embedding prediction of the tokens a lag later; `shape`: molecules of a batch, rows of each."""
    dim = model.config.dim
    objective, ground = WithinMolecules(VarianceCovariance(1.0, 0.04), shape[1], dim), TorsionGround(dim)
    encoder = _Observed(model.encoder)
    jepa = JEPA(encoder, model.predictor, objective, dim=dim, scheme=Scheme(_MOMENTUM), ground=Guide(ground, 1.0))

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        batch = sampler.draw(*shape, generator).to(device_of(jepa))
        found = jepa([_Observation(x, batch.types, batch.mask) for x in (batch.now, batch.later)], batch.lag, generator)
        return {"loss": found.total} | {term: getattr(found, term) for term in _LOGGED}

    def after_step(_step: int, share: float) -> None:
        jepa.update_target(momentum_schedule(int(1000 * share), 1000, _MOMENTUM))

    how = Optimisation(seconds=seconds, learning_rate=0.001, weight_decay=0.01, seed=seed)
    return Stage(name, jepa, losses, how, after_step=after_step)


@torch.no_grad()
def fit_type_basis(
    model: PeptideModel, sampler: Sampler, lag: float, *, batches: int, shape: tuple[int, int], seed: int
) -> Tensor:
    """Set the basis from pairs up to `lag` ps apart; the autocorrelations [types, dim] of its axes."""
    device, generator = device_of(model), torch.Generator().manual_seed(seed)
    sums = TypeCovariances(SIZES[0], model.config.dim, device)
    at_lag = Sampler(sampler.peptides, lag)
    for _ in range(batches):
        batch = at_lag.draw(*shape, generator).to(device)
        z = [model.encoder(x, batch.types, batch.mask) for x in (batch.now, batch.later)]
        grouped = [x.reshape(*shape, *x.shape[1:]) for x in z]
        sums.add(grouped[0], grouped[1], batch.types.reshape(*shape, *batch.types.shape[1:])[:, 0, :, 0])
    basis, found = sums.fit(model.config.n_slow)
    model.basis.load_state_dict(basis.state_dict())
    return found


def step_inputs(batch: Batch, u: Tensor) -> tuple[Tensor, Tensor]:
    """Lags and torsions to draw: by uniform u [batch], rows decode (lag 0) or forget (lag ∞)."""
    now, ever = u < 0.1, u > 0.7
    lag = batch.lag.masked_fill(ever, EVER).masked_fill(now, NOW)
    return lag, torch.where(now.reshape(-1, 1, 1), batch.now, batch.later)


def step_loss(model: PeptideModel, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Mean negative log-likelihood per torsion in nats, the same of each row, and the rows' lags."""
    device = batch.now.device
    u = torch.rand(2, len(batch.lag), generator=generator).to(device)
    lag, target = step_inputs(batch, u[0])
    with torch.no_grad():
        slow = model.encode(batch.now, batch.types, batch.mask)
        slow = slow + 0.1 * u[1].reshape(-1, 1, 1) * torch.randn(slow.shape, generator=generator).to(device)
    value = -model.step.log_likelihood(slow, batch.types, batch.mask, lag, target)
    rows = value.sum((1, 2)) / batch.mask.sum((1, 2))
    return value.sum() / batch.mask.sum(), rows.detach(), lag


def by_kind_of_lag(rows: Tensor, lag: Tensor) -> dict[str, Tensor]:
    """Values [batch] of rows that decode (lag 0), look a lag ahead, and forget (lag ∞), by those names."""
    kinds = {"now": lag <= 0, "later": (lag > 0) & ~torch.isinf(lag), "ever": torch.isinf(lag)}
    return {name: rows[chosen] for name, chosen in kinds.items()}


def step_stage(
    model: PeptideModel, sampler: Sampler, shape: tuple[int, int], *, seconds: float, seed: int, peak: float = 1e-3,
    name: str = "step",
) -> Stage:  # fmt: skip
    """Maximum likelihood of torsions a lag later, with the encoder and the basis held; weights are averaged."""
    model.requires_grad_(False).step.requires_grad_(True)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        loss, rows, lag = step_loss(model, sampler.draw(*shape, generator).to(device_of(model)), generator)
        return {"loss": loss} | {kind: values.mean() for kind, values in by_kind_of_lag(rows, lag).items()}

    how = Optimisation(
        seconds=seconds, learning_rate=peak, weight_decay=0.02, betas=(0.9, 0.98), seed=seed, average=0.999
    )
    return Stage(name, model, losses, how)
