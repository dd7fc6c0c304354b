"""The training stages, each a function of data and configuration that returns a `Stage` ready to run."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.analysis.cells import k_means
from latentmd.core.basis import LatentBasis
from latentmd.core.jepa import JEPA
from latentmd.core.steps import ConditionalFlow, FlowPredictor, MixturePredictor, ResidualPredictor
from latentmd.decoders.torsions import TorsionDecoder
from latentmd.encoders.egnn import MoleculeEncoder
from latentmd.heads.energy import EnergyHead, LatentEnergyHead
from latentmd.training.config import TrainingConfig
from latentmd.training.embedding import build_objective, device_of, embedding_stage
from latentmd.training.loop import Stage
from latentmd.training.windows import LaggedWindows

_KMEANS_FRAMES = 50_000
#: Losses of stage 1 that are logged beside the total.
LOGGED = ("prediction", "variance", "covariance", "ground", "spectral", "gain")


def build_jepa(encoder: MoleculeEncoder, ground: TorsionDecoder, config: TrainingConfig) -> JEPA:
    """The networks that stage 1 trains: encoder, predictor, objective, and read-outs that guide the latent.

    Args:
        encoder: untrained.
        ground: linear read-out of internal coordinates with fitted statistics.
        config: of the training.
    """
    c = config.jepa
    dim = config.encoder.token_dim
    objective = build_objective(c, config.seed)
    predictor = ResidualPredictor(dim, c.lag, c.predictor_width, tokens=encoder.n_tokens)
    return JEPA(
        encoder, predictor, objective, dim=dim, ema=c.ema, matching=c.matching, mask=c.mask, regularise=c.regularise,
        ground=ground, ground_weight=c.ground,
        spectral=nn.Linear(encoder.n_tokens * dim, c.spectral_features) if c.spectral > 0 else None,
        spectral_weight=c.spectral,
    )  # fmt: skip


def jepa_stage(jepa: JEPA, trajectories: list[NDArray[np.float32]], config: TrainingConfig) -> Stage:
    """Stage 1 on positions; rank and deviations of the latent are logged beside the losses.

    Args:
        jepa: from `build_jepa`.
        trajectories: positions (frames, atoms, 3) in nm.
        config: of the training.
    """
    c = config.jepa
    windows = LaggedWindows(trajectories, (c.lag[0] / config.stride, c.lag[1] / config.stride), c.rollout)
    return embedding_stage(jepa, windows, c, config.seed, terms=LOGGED, interval=config.stride)


def project(basis: LatentBasis, latents: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Latents [frames, tokens · dim] of each trajectory → whitened axes [frames, axes], slow ones first."""
    mean, matrix = basis.mean.cpu().numpy(), basis.matrix.cpu().numpy()
    return [((z - mean) @ matrix).astype(np.float32) for z in latents]


def decoder_stage(decoder: TorsionDecoder, axes: Tensor, positions: Tensor, config: TrainingConfig) -> Stage:
    """Stage 2a: frozen axes [frames, axes] → internal coordinates of the frames [frames, atoms, 3].

    Args:
        decoder: in training.
        axes: [frames, axes].
        positions: of the same frames [frames, atoms, 3] in nm.
        config: of the training.
    """
    c = config.decoder

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(axes), (c.batch,), generator=generator)
        there = device_of(decoder)
        return {"loss": decoder.loss(axes[rows].to(there), positions[rows].to(there))}

    return Stage(
        "decoder", decoder, losses, steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, average=0.99
    )


def fast_stage(flow: ConditionalFlow, slow: Tensor, fast: Tensor, config: TrainingConfig) -> Stage:
    """Stage 2b: the conditional distribution of the fast axes [frames, m] given the slow ones [frames, k].

    Args:
        flow: in training.
        slow, fast: axes of the same frames, [frames, k] and [frames, m].
        config: of the training.
    """
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
    """The stochastic predictor that the configuration names; cell centres are k-means centres of the slow axes.

    Args:
        slow: slow axes [frames, axes] of each trajectory.
        config: of the training.
    """
    c = config.predictor
    n_slow = slow[0].shape[1]
    if c.kind == "mixture":
        return MixturePredictor(n_slow, c.lag, c.components, c.width, c.depth)
    frames = np.concatenate(slow)
    frames = frames[:: max(1, len(frames) // _KMEANS_FRAMES)].astype(np.float64)
    centres = k_means(frames, c.cells, config.seed, sweeps=500).cluster_centers
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

    Args:
        predictor: in training.
        slow: slow axes [frames, k] of each trajectory.
        config: of the training; lags in ps.
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
    """Energy head on engine energies [frames] and forces [frames, atoms, 3].

    Args:
        head: in training.
        positions: [frames, atoms, 3] in nm.
        energies: [frames] in kJ/mol.
        forces: [frames, atoms, 3] in kJ/mol/nm.
        config: of the training.
    """
    c = config.energy

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(positions), (c.batch,), generator=generator)
        x, energy, target = (part[rows].to(device_of(head)) for part in (positions, energies, forces))
        loss, force = head.loss(x, energy, target, c.force_weight)
        return {"loss": loss, "force": force}

    return Stage("energy", head, losses, steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, average=0.99)


def latent_energy_stage(head: LatentEnergyHead, axes: Tensor, energies: Tensor, config: TrainingConfig) -> Stage:
    """E[U | z] and its variance from frozen axes.

    Args:
        head: in training.
        axes: [frames, axes].
        energies: [frames] in kJ/mol.
        config: of the training.
    """
    c = config.energy

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(axes), (1024,), generator=generator)
        there = device_of(head)
        return {"loss": head.loss(axes[rows].to(there), energies[rows].to(there))}

    return Stage("latent-energy", head, losses, steps=c.latent_steps, learning_rate=1e-3, seed=config.seed)
