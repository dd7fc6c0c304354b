"""The training stages, each a function of data and configuration that returns a `Stage` ready to run."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.core.basis import LatentBasis
from latentmd.core.jepa import JEPA, Guide
from latentmd.core.steps import ConditionalFlow, ResidualPredictor
from latentmd.decoders.torsions import TorsionDecoder
from latentmd.encoders.egnn import AtomEncoder
from latentmd.heads.energy import EnergyHead, LatentEnergyHead
from latentmd.training.config import TrainingConfig
from latentmd.training.embedding import build_objective, device_of, embedding_stage, scheme_of
from latentmd.training.loop import Optimisation, Stage
from latentmd.training.parts import Latent, LatentWindow, predictor_of
from latentmd.training.windows import LaggedWindows

#: Losses of stage 1 that are logged beside the total.
LOGGED = ("prediction", "variance", "covariance", "ground", "spectral", "gain")


def build_jepa(encoder: AtomEncoder, ground: TorsionDecoder, config: TrainingConfig) -> JEPA:
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
    spectral = nn.Linear(encoder.n_tokens * dim, c.spectral_features) if c.spectral > 0 else None
    guides = {"ground": Guide(ground, c.ground), "spectral": Guide(spectral, c.spectral)}
    return JEPA(encoder, predictor, objective, dim=dim, scheme=scheme_of(c), **guides)


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

    how = Optimisation(steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, average=0.99)
    return Stage("decoder", decoder, losses, how)


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
        mean, scale, rest = flow.loss(*(part.to(there) for part in (y, context, nothing, noise, u)))
        return {"loss": mean + scale + rest, "mean": mean, "scale": scale, "flow": rest}

    how = Optimisation(steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, average=c.average)
    return Stage("fast", flow, losses, how)


def build_predictor(slow: list[NDArray[np.float32]], config: TrainingConfig) -> nn.Module:
    """The untrained stochastic predictor that the configuration names, of slow axes [frames, axes]."""
    c = config.predictor
    return predictor_of(c.kind, True).build(Latent(1, slow[0].shape[1], c.lag, slow, config.seed), c)


def predictor_stage(predictor: nn.Module, slow: list[NDArray[np.float32]], config: TrainingConfig) -> Stage:
    """Stage 3: stochastic steps of the slow axes on cached latents, at lags log-uniform in the configured range.

    At equilibrium, with positions alone, a pair and its time reverse are equally likely (detailed balance), so half
    of the pairs are reversed unless the configuration says that the data are not at equilibrium.

    Args:
        predictor: in training.
        slow: slow axes [frames, k] of each trajectory.
        config: of the training; lags in ps.
    """
    c, kind = config.predictor, predictor_of(config.predictor.kind, True)
    windows = LaggedWindows(slow, (c.lag[0] / config.stride, c.lag[1] / config.stride), 1)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        (now, future), lag = windows.sample(c.batch, generator)
        if c.time_reversal:
            swap = (torch.rand(c.batch, 1, generator=generator) < 0.5).to(now)
            now, future = now + swap * (future - now), future + swap * (now - future)
        there = device_of(predictor)
        pair = [x.unsqueeze(1).to(there) for x in (now, future)]
        return kind.loss(predictor, LatentWindow(pair, (lag * config.stride).to(there), generator), c)

    how = Optimisation(steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, average=c.average)
    return Stage("predictor", predictor, losses, how)


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

    how = Optimisation(steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, average=0.99)
    return Stage("energy", head, losses, how)


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

    how = Optimisation(steps=c.latent_steps, learning_rate=0.001, seed=config.seed)
    return Stage("latent-energy", head, losses, how)
