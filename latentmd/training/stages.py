"""The training stages, each a function of data and configuration that returns a `Stage` ready to run."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.core.basis import LatentBasis
from latentmd.core.jepa import JEPA, momentum_schedule
from latentmd.core.objectives import SIGReg, VarianceCovariance, effective_rank
from latentmd.core.steps import ConditionalFlow, FlowPredictor, MixturePredictor, ResidualPredictor
from latentmd.decoders.torsions import TorsionDecoder
from latentmd.encoders.egnn import MoleculeEncoder
from latentmd.heads.energy import EnergyHead, LatentEnergyHead
from latentmd.training.config import TrainingConfig
from latentmd.training.loop import Stage, TrainingError
from latentmd.training.windows import LaggedWindows

_KMEANS_FRAMES = 50_000
_CHECK_FROM = 0.5  # collapse is judged after this share of the JEPA steps


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters are; batches are drawn on the CPU, so that a seed means the same on every device."""
    return next(module.parameters()).device


def build_jepa(encoder: MoleculeEncoder, ground: TorsionDecoder, config: TrainingConfig) -> JEPA:
    """The trainee of stage 1; `ground` is a linear read-out of internal coordinates with fitted statistics."""
    c = config.jepa
    dim = config.encoder.token_dim
    objective: nn.Module = (
        VarianceCovariance(c.variance, c.covariance)
        if c.objective == "variance-covariance"
        else SIGReg(c.sigreg, seed=config.seed)
    )
    predictor = ResidualPredictor(dim, c.lag, c.predictor_width, tokens=encoder.n_tokens)
    return JEPA(
        encoder, predictor, objective, dim=dim, ema=c.ema, matching=c.matching, mask=c.mask, regularise=c.regularise,
        ground=ground, ground_weight=c.ground,
        spectral=nn.Linear(encoder.n_tokens * dim, c.spectral_features) if c.spectral > 0 else None,
        spectral_weight=c.spectral,
    )  # fmt: skip


def jepa_stage(jepa: JEPA, trajectories: list[NDArray[np.float32]], config: TrainingConfig) -> Stage:
    """Stage 1: predict future latents from present ones, over lagged windows that never cross trajectories.

    Logs, beside the losses, the effective rank and the smallest axis deviation, and stops a run that collapses.
    """
    c = config.jepa
    windows = LaggedWindows(trajectories, (c.lag[0] / config.stride, c.lag[1] / config.stride), c.rollout)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        frames, lag = windows.sample(c.batch, generator)
        there = device_of(jepa)
        out = jepa([frame.to(there) for frame in frames], (lag * config.stride).to(there), generator)
        return {"loss": out.total, "prediction": out.prediction, "variance": out.variance,
                "covariance": out.covariance, "ground": out.ground, "spectral": out.spectral,
                "gain": out.gain}  # fmt: skip

    probe = windows.sample(512, torch.Generator().manual_seed(config.seed)).frames[0]
    start = collapse_diagnostics(jepa, probe)

    def after_step(step: int) -> None:
        if c.ema is not None:
            jepa.update_target(momentum_schedule(step, c.steps, c.ema))
        if step == c.steps or (step > _CHECK_FROM * c.steps and step % 50 == 0):
            refuse_collapse(collapse_diagnostics(jepa, probe), start, c.minimum_rank, step)

    return Stage(
        "jepa", jepa, losses, steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, after_step=after_step
    )


def collapse_diagnostics(jepa: JEPA, positions: Tensor) -> dict[str, float]:
    """Effective rank (RankMe) and the smallest and mean deviation of the latent axes over some frames."""
    with torch.no_grad():
        z = jepa.target(positions.to(device_of(jepa))).flatten(1)
    std = z.std(0)
    return {"rank": float(effective_rank(z)), "std_min": float(std.min()), "std_mean": float(std.mean())}


def refuse_collapse(seen: dict[str, float], start: dict[str, float], minimum_rank: float, step: int) -> None:
    """Raise `TrainingError` where the rank is too low or the axes have shrunk below those of the untrained encoder."""
    if seen["rank"] < minimum_rank or seen["std_mean"] < 0.3 * start["std_mean"]:
        raise TrainingError(
            f"the latent collapsed: effective rank {seen['rank']:.2f} (expected at least {minimum_rank}), mean axis "
            f"deviation {seen['std_mean']:.2g} ({start['std_mean']:.2g} before training) at step {step}; raise "
            "jepa.variance, jepa.covariance or jepa.ground, or lower jepa.learning_rate"
        )


@torch.no_grad()
def encode_all(
    encoder: nn.Module, trajectories: list[NDArray[np.float32]], batch: int = 256
) -> list[NDArray[np.float32]]:
    """Latents [frames, tokens · dim] of every frame, one array per trajectory, by the frozen encoder."""
    device = device_of(encoder)
    out = []
    for positions in trajectories:
        parts = [
            encoder(torch.from_numpy(np.ascontiguousarray(positions[i : i + batch])).to(device))
            .flatten(1)
            .cpu()
            .numpy()
            for i in range(0, len(positions), batch)
        ]
        out.append(np.concatenate(parts))
    return out


def project(basis: LatentBasis, latents: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Latents → whitened axes, slow ones first."""
    mean, matrix = basis.mean.cpu().numpy(), basis.matrix.cpu().numpy()
    return [((z - mean) @ matrix).astype(np.float32) for z in latents]


def decoder_stage(decoder: TorsionDecoder, axes: Tensor, positions: Tensor, config: TrainingConfig) -> Stage:
    """Stage 2a: frozen axes [frames, axes] → internal coordinates of the frames [frames, atoms, 3]."""
    c = config.decoder

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(axes), (c.batch,), generator=generator)
        there = device_of(decoder)
        return {"loss": decoder.loss(axes[rows].to(there), positions[rows].to(there))}

    return Stage(
        "decoder", decoder, losses, steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, average=0.99
    )


def fast_stage(flow: ConditionalFlow, slow: Tensor, fast: Tensor, config: TrainingConfig) -> Stage:
    """Stage 2b: the conditional distribution of the fast axes [frames, m] given the slow ones [frames, k]."""
    c = config.fast
    nothing = torch.zeros(c.batch, 0)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(slow), (c.batch,), generator=generator)
        noise = torch.randn(c.batch, 1, fast.shape[1], generator=generator)
        u = torch.rand(c.batch, generator=generator)
        y, context = fast[rows].unsqueeze(1), slow[rows].unsqueeze(1)
        there = device_of(flow)
        return _flow_losses(flow.loss(*(part.to(there) for part in (y, context, nothing, noise, u))))

    return Stage(
        "fast", flow, losses, steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, average=c.average
    )


def _flow_losses(parts: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    mean, scale, flow = parts
    return {"loss": mean + scale + flow, "mean": mean, "scale": scale, "flow": flow}


def build_predictor(slow: list[NDArray[np.float32]], config: TrainingConfig) -> FlowPredictor | MixturePredictor:
    """The stochastic predictor that the configuration names; cell centres are k-means centres of the slow axes."""
    c = config.predictor
    n_slow = slow[0].shape[1]
    if c.kind == "mixture":
        return MixturePredictor(n_slow, c.lag, c.components, c.width, c.depth)
    from deeptime.clustering import KMeans

    frames = np.concatenate(slow)
    frames = frames[:: max(1, len(frames) // _KMEANS_FRAMES)].astype(np.float64)
    centres = KMeans(c.cells, fixed_seed=config.seed, max_iter=500).fit_fetch(frames).cluster_centers
    return FlowPredictor(
        n_slow, c.lag, c.width, c.depth, solver_steps=c.solver_steps,
        centres=torch.from_numpy(np.asarray(centres, dtype=np.float32)),
    )  # fmt: skip


def predictor_stage(
    predictor: FlowPredictor | MixturePredictor, slow: list[NDArray[np.float32]], config: TrainingConfig
) -> Stage:
    """Stage 3: stochastic steps of the slow axes on cached latents, at lags log-uniform in the configured range.

    At equilibrium, with positions alone, a pair and its time reverse are equally likely (detailed balance), so half
    of the pairs are reversed unless the configuration says that the data are not at equilibrium.
    """
    c = config.predictor
    windows = LaggedWindows(slow, (c.lag[0] / config.stride, c.lag[1] / config.stride), 1)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        (now, future), lag = windows.sample(c.batch, generator)
        if c.time_reversal:
            swap = (torch.rand(c.batch, 1, generator=generator) < 0.5).to(now)
            now, future = now + swap * (future - now), future + swap * (now - future)
        there = device_of(predictor)
        now, future, lag = now.unsqueeze(1).to(there), future.unsqueeze(1).to(there), (lag * config.stride).to(there)
        if isinstance(predictor, MixturePredictor):
            return {"loss": -predictor.log_likelihood(now, lag, future).mean()}
        noise, u = torch.randn(future.shape, generator=generator), torch.rand(c.batch, generator=generator)
        entropy, *rest = predictor.loss(now, lag, future, noise.to(there), u.to(there))
        flow = _flow_losses((rest[0], rest[1], rest[2]))
        return {**flow, "loss": flow["loss"] + entropy, "entropy": entropy}

    return Stage(
        "predictor",
        predictor,
        losses,
        steps=c.steps,
        learning_rate=c.learning_rate,
        seed=config.seed,
        average=c.average,
    )


def energy_stage(
    head: EnergyHead, positions: Tensor, energies: Tensor, forces: Tensor, config: TrainingConfig
) -> Stage:
    """Energy head on engine energies [frames] and forces [frames, atoms, 3]."""
    c = config.energy

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(positions), (c.batch,), generator=generator)
        x, energy, target = (part[rows].to(device_of(head)) for part in (positions, energies, forces))
        loss, force = head.loss(x, energy, target, c.force_weight)
        return {"loss": loss, "force": force}

    return Stage("energy", head, losses, steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, average=0.99)


def latent_energy_stage(head: LatentEnergyHead, axes: Tensor, energies: Tensor, config: TrainingConfig) -> Stage:
    """E[U | z] and its variance from frozen axes."""
    c = config.energy

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(axes), (1024,), generator=generator)
        there = device_of(head)
        return {"loss": head.loss(axes[rows].to(there), energies[rows].to(there))}

    return Stage("latent-energy", head, losses, steps=c.latent_steps, learning_rate=1e-3, seed=config.seed)
