"""The stages of training a model of many peptides: latent, basis, step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from latentmd.core.jepa import JEPA, momentum_schedule
from latentmd.core.objectives import Regularisation, VarianceCovariance
from latentmd.core.steps.torsions import EVER, NOW
from latentmd.core.type_basis import TypeCovariances
from latentmd.encoders.chain import ChainEncoder
from latentmd.model.peptides import SIZES, PeptideModel
from latentmd.molecule.chain import SLOTS
from latentmd.training.peptides.checkpoints import Checkpoint, Stateful
from latentmd.training.peptides.data import Batch, Sampler
from latentmd.training.peptides.schedule import Schedule, learning_rate

Log = Callable[[str], None]


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
        out: Tensor = self.encoder(obs.angles, obs.types, obs.mask)
        return out


class WithinMolecules(nn.Module):
    """An objective on tokens' deviations from their mean over the frames of one molecule.

    Args:
        objective: latents [samples, axes] → `Regularisation`.
        rows: frames of each molecule, which stand together in a batch.
        dim: axes of a token.
    """

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


def train_latent(
    model: PeptideModel,
    sampler: Sampler,
    schedule: Schedule,
    shape: tuple[int, int],
    log: Log,
    checkpoint: Checkpoint | None = None,
) -> dict[str, float]:
    """Joint-embedding prediction of the tokens a lag later, over molecules and lags.

    Args:
        model: its encoder and predictor are trained.
        sampler: of pairs.
        schedule: of the stage.
        shape: molecules of a batch and rows of each.
        log: receives a line now and then.
        checkpoint: where the stage is kept, and from which it goes on.

    Returns:
        The last losses by name.
    """
    dim = model.config.dim
    objective = WithinMolecules(VarianceCovariance(1.0, 0.04), shape[1], dim)
    jepa = JEPA(
        _Observed(model.encoder),
        model.predictor,
        objective,
        dim=dim,
        ema=0.99,
        ground=TorsionGround(dim),
        ground_weight=1.0,
    ).to(next(model.parameters()).device)
    parameters = [p for p in jepa.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01, fused=sampler.fused)
    host = torch.Generator().manual_seed(0)
    generators = [sampler.generator, sampler.host, host]
    parts: dict[str, Stateful] = {"jepa": jepa, "optimiser": optimiser}
    losses = None
    if checkpoint is not None:
        checkpoint.restore("latent", schedule, generators, parts)
    for fraction in schedule:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(fraction, 1e-3)
        batch = sampler.draw(*shape, reversible=False)
        pair = [_Observation(x, batch.types, batch.mask) for x in (batch.now, batch.later)]
        losses = jepa(pair, batch.lag, host)
        optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        jepa.update_target(momentum_schedule(int(1000 * fraction), 1000, 0.99))
        if checkpoint is not None:
            checkpoint.save("latent", schedule, generators, parts)
        if schedule.done % 200 == 0:
            log(
                f"latent {schedule.done} "
                + " ".join(f"{k} {float(v.detach()):.4f}" for k, v in losses._asdict().items())
            )
    found = {} if losses is None else {k: float(v.detach()) for k, v in losses._asdict().items()}
    return {**found, "steps": float(schedule.done)}


@torch.no_grad()
def fit_type_basis(model: PeptideModel, sampler: Sampler, lag: float, batches: int, shape: tuple[int, int]) -> Tensor:
    """Set the basis from pairs up to `lag` ps apart; the autocorrelations [types, dim] of its axes.

    Args:
        model: its basis is set.
        sampler: of pairs, whose longest lag is overridden.
        lag: ps, longest.
        batches: number of batches.
        shape: molecules of a batch and rows of each.
    """
    device = next(model.parameters()).device
    sums = TypeCovariances(SIZES[0], model.config.dim, device)
    at_lag = Sampler(sampler.peptides, lag, sampler.generator)
    for _ in range(batches):
        batch = at_lag.draw(*shape, reversible=False)
        z = [model.encoder(x, batch.types, batch.mask) for x in (batch.now, batch.later)]
        grouped = [x.reshape(*shape, *x.shape[1:]) for x in z]
        sums.add(grouped[0], grouped[1], batch.types.reshape(*shape, *batch.types.shape[1:])[:, 0, :, 0])
    basis, found = sums.fit(model.config.n_slow)
    model.basis.load_state_dict(basis.state_dict())
    return found


def step_inputs(batch: Batch, u: Tensor) -> tuple[Tensor, Tensor]:
    """Lags and torsions to draw: a share of each batch decodes (lag 0), another forgets (lag ∞).

    Args:
        batch: pairs.
        u: [batch] uniform numbers.
    """
    now, ever = u < 0.1, u > 0.7
    lag = torch.where(
        now, torch.full_like(batch.lag, NOW), torch.where(ever, torch.full_like(batch.lag, EVER), batch.lag)
    )
    return lag, torch.where(now.reshape(-1, 1, 1), batch.now, batch.later)


def step_loss(model: PeptideModel, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Mean negative log-likelihood per torsion in nats, the same of each row, and the rows' lags.

    Args:
        model: the model under training.
        batch: pairs of frames.
        generator: of lags and noise.
    """
    device = batch.now.device
    u = torch.rand(2, len(batch.lag), device=device, generator=generator)
    lag, target = step_inputs(batch, u[0])
    with torch.no_grad():
        slow = model.encode(batch.now, batch.types, batch.mask)
        noise = torch.randn(slow.shape, device=device, generator=generator)
        slow = slow + 0.1 * u[1].reshape(-1, 1, 1) * noise
    value = -model.step.log_likelihood(slow, batch.types, batch.mask, lag, target)
    rows = value.sum((1, 2)) / batch.mask.sum((1, 2))
    return value.sum() / batch.mask.sum(), rows.detach(), lag


def train_step(
    model: PeptideModel,
    sampler: Sampler,
    schedule: Schedule,
    shape: tuple[int, int],
    log: Log,
    checkpoint: Checkpoint | None = None,
    peak: float = 1e-3,
) -> dict[str, float]:
    """Maximum likelihood of torsions a lag later, with the encoder and the basis held; weights are averaged.

    Args:
        model: its step is trained.
        sampler: of pairs.
        schedule: of the stage.
        shape: molecules of a batch and rows of each.
        log: receives a line now and then.
        checkpoint: where the stage is kept, with the whole model, and from which it goes on.
        peak: highest learning rate.

    Returns:
        Smoothed likelihoods per torsion, by kind of lag.
    """
    step = model.step
    average = copy.deepcopy(step).requires_grad_(False)
    optimiser = torch.optim.AdamW(step.parameters(), lr=peak, weight_decay=0.02, betas=(0.9, 0.98), fused=sampler.fused)
    smooth: dict[str, float] = {}
    generators = [sampler.generator, sampler.host]
    parts: dict[str, Stateful] = {"model": model, "average": average, "optimiser": optimiser}
    if checkpoint is not None and not checkpoint.restore("step", schedule, generators, parts):
        checkpoint.save("step", schedule, generators, parts, always=True)
    for fraction in schedule:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(fraction, peak)
        batch = sampler.draw(*shape, reversible=False)
        loss, rows, lag = step_loss(model, batch, sampler.generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(step.parameters(), 1.0)
        optimiser.step()
        decay = min(0.999, 1 - 1 / (1 + schedule.done / 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(step.parameters()), 1 - decay)
        if schedule.done % 100 == 0:
            kinds = {"now": lag <= 0, "ever": torch.isinf(lag), "later": (lag > 0) & ~torch.isinf(lag)}
            for name, chosen in kinds.items():
                value = float(rows[chosen].mean())
                smooth[name] = 0.9 * smooth.get(name, value) + 0.1 * value
            log(f"step {schedule.done} " + " ".join(f"{k} {v:.4f}" for k, v in smooth.items()))
        if checkpoint is not None:
            checkpoint.save("step", schedule, generators, parts)
    model.step = average
    return {**smooth, "steps": float(schedule.done)}
