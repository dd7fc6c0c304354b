"""The stages of a training on a world: joint-embedding prediction, predictors on frozen latents, read-outs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.core.jepa import JEPA, momentum_schedule
from latentmd.core.objectives import PerToken, SIGReg, VarianceCovariance, conservation_loss
from latentmd.core.steps import (
    EGNNPredictor,
    GeneralHamiltonianPredictor,
    HamiltonianPredictor,
    LangevinPredictor,
    MLPPredictor,
    ResidualPredictor,
)
from latentmd.training.loop import Stage
from latentmd.training.stages import collapse_diagnostics, refuse_collapse
from latentmd.training.windows import LaggedWindows
from latentmd.worlds.config import PredictorKind, WorldConfig

Runs = list[NDArray[np.float32]]
_LARGE = 2  # a large MLP is this many times wider, so about four times the parameters
_CHECK_FROM = 0.5  # collapse is judged after this share of the JEPA steps


def new_predictor(kind: PredictorKind, tokens: int, dim: int, config: WorldConfig) -> nn.Module:
    """An untrained predictor of tokens [batch, tokens, dim]; lags are in frames."""
    c, lag = config.predictor, (float(config.jepa.lag[0]), float(config.jepa.lag[1]))
    scheme = "euler" if kind == "hamiltonian-euler" else "leapfrog"
    builders: dict[PredictorKind, Callable[[], nn.Module]] = {
        "residual": lambda: ResidualPredictor(dim, lag, c.width, c.depth, tokens),
        "mlp": lambda: MLPPredictor(dim, lag, c.width, c.depth, tokens),
        "large-mlp": lambda: MLPPredictor(dim, lag, _LARGE * c.width, c.depth, tokens),
        "egnn": lambda: EGNNPredictor(dim, lag, c.width, c.depth),
        "hamiltonian-general": lambda: GeneralHamiltonianPredictor(dim, lag, c.width, tokens, c.substeps),
        "langevin": lambda: LangevinPredictor(dim, lag, c.width, tokens),
    }
    if kind.startswith("hamiltonian") and kind not in builders:
        return HamiltonianPredictor(dim, lag, c.width, tokens, c.substeps, scheme=scheme)  # type: ignore[arg-type]
    return builders[kind]()


def world_jepa(encoder: nn.Module, tokens: int, dim: int, config: WorldConfig) -> JEPA:
    """The trainee of stage 1: any encoder of one world's observations, and the configured predictor."""
    c = config.jepa
    objective: nn.Module = (
        VarianceCovariance(c.variance, c.covariance)
        if c.objective == "variance-covariance"
        else SIGReg(c.sigreg, seed=config.seed)
    )
    if c.sample == "token":
        objective = PerToken(objective, dim)
    predictor = new_predictor(config.predictor.kind, tokens, dim, config)
    conserved = predictor.energy if c.conserved > 0 else None
    return JEPA(
        encoder, predictor, objective, dim=dim, ema=c.ema, matching=c.matching, mask=c.mask, regularise=c.regularise,
        conserved=conserved, conserved_weight=c.conserved,  # type: ignore[arg-type]
    )  # fmt: skip


def world_jepa_stage(jepa: JEPA, observations: Runs, config: WorldConfig) -> Stage:
    """Stage 1: predict future latents from present ones, over windows that never cross trajectories."""
    c = config.jepa
    windows = LaggedWindows(observations, c.lag, c.rollout)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        frames, lag = windows.sample(c.batch, generator)
        out = jepa(frames, lag, generator)
        terms = out._asdict()
        del terms["ground"]
        return {"loss": terms.pop("total"), **terms}

    probe = windows.sample(256, torch.Generator().manual_seed(config.seed)).frames[0]
    start = collapse_diagnostics(jepa, probe)

    def after_step(step: int) -> None:
        if c.ema is not None:
            jepa.update_target(momentum_schedule(step, c.steps, c.ema))
        if step == c.steps or (step > _CHECK_FROM * c.steps and step % 100 == 0):
            refuse_collapse(collapse_diagnostics(jepa, probe), start, c.minimum_rank, step)

    return Stage(
        "jepa", jepa, losses, steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, after_step=after_step
    )


def world_predictor_stage(
    kind: PredictorKind, predictor: nn.Module, latents: Runs, config: WorldConfig, trained_before: bool
) -> Stage:
    """Stage 2: a predictor on frozen latents [frames, tokens, dim], unrolled; Langevin by its one-step likelihood.

    A predictor that joint-embedding prediction has not trained gets as many steps more.
    """
    name, steps = f"predictor-{kind}", config.predictor.steps + (0 if trained_before else config.jepa.steps)
    c = config.predictor
    likelihood = isinstance(predictor, LangevinPredictor)
    windows = LaggedWindows(latents, config.jepa.lag, 1 if likelihood else c.rollout)
    nothing = torch.zeros(c.batch, 0)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        frames, lag = windows.sample(c.batch, generator)
        if isinstance(predictor, LangevinPredictor):
            return {"loss": -predictor.log_likelihood(frames[0], lag, frames[1]).mean()}
        path, errors = [frames[0]], []
        for target in frames[1:]:
            path.append(predictor.step(path[-1], lag, nothing))  # type: ignore[operator]
            errors.append((path[-1] - target).square().mean())
        loss = torch.stack(errors).mean()
        if kind != "hamiltonian-energy-term":
            return {"loss": loss}
        drift = conservation_loss([predictor.energy(z) for z in path])  # type: ignore[operator]
        return {"loss": loss + c.energy_term * drift, "prediction": loss, "conservation": drift}

    if isinstance(predictor, LangevinPredictor):
        first, lag = windows.sample(4096, torch.Generator().manual_seed(config.seed))
        predictor.match_moments(first[0], float(lag.median()), first[1])
    return Stage(name, predictor, losses, steps=steps, learning_rate=c.learning_rate, seed=config.seed)


def readout_stage(
    name: str, decoder: nn.Module, latents: Runs, targets: Sequence[NDArray[np.floating]], config: WorldConfig
) -> Stage:
    """Stage 3: a decoder of frozen latents to what the frames show, in squared error over the targets' variance."""
    c = config.decoder
    z = torch.from_numpy(np.concatenate(latents))
    where = np.concatenate([np.full(len(part), i) for i, part in enumerate(targets)])
    row = np.concatenate([np.arange(len(part)) for part in targets])
    nothing = torch.zeros(c.batch, 0)
    sample = np.concatenate([np.asarray(part[:: max(1, len(part) // 16)], dtype=np.float64) for part in targets])
    spread = float(((sample - sample.mean(0)) ** 2).mean())

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(z), (c.batch,), generator=generator)
        wanted = np.stack([targets[where[i]][row[i]] for i in rows.numpy()]).astype(np.float32)
        found = decoder(z[rows], nothing)
        return {"loss": (found - torch.from_numpy(wanted)).square().mean() / spread}

    return Stage(name, decoder, losses, steps=c.steps, learning_rate=c.learning_rate, seed=config.seed)


@torch.no_grad()
def encode_runs(encoder: nn.Module, observations: Sequence[NDArray[np.floating]], batch: int = 512) -> Runs:
    """Latents [frames, tokens, dim] of every frame, one array per trajectory, by the frozen encoder."""
    out = []
    for run in observations:
        parts = [
            encoder(torch.from_numpy(np.ascontiguousarray(run[i : i + batch], dtype=np.float32))).numpy()
            for i in range(0, len(run), batch)
        ]
        out.append(np.concatenate(parts))
    return out
