"""The training stages in order, each fed by the ones before it, and the surrogate that they make."""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.core.basis import LatentBasis
from latentmd.core.jepa import JEPA, Guide
from latentmd.core.steps import ConditionalFlow, ResidualPredictor
from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.decoders.torsions import TorsionDecoder
from latentmd.encoders.egnn import AtomEncoder
from latentmd.heads.energy import EnergyHead, LatentEnergyHead
from latentmd.heads.mechanics import MechanicsPrior
from latentmd.io.atomic import write_npz
from latentmd.model.manifest import Landmarks
from latentmd.model.surrogate import Surrogate
from latentmd.training.config import TrainingConfig
from latentmd.training.data import STATISTICS_FRAMES, Data, few
from latentmd.training.embedding import (
    build_objective,
    collapse_diagnostics,
    device_of,
    embedding_stage,
    encode_all,
    fit_basis,
    landmarks,
    scheme_of,
    soft_torsions,
)
from latentmd.training.labels import Labels
from latentmd.training.loop import Optimisation, Stage, append_rows
from latentmd.training.parts import Latent, LatentWindow, Observed, encoder_of, predictor_of
from latentmd.training.run import TrainingRun
from latentmd.training.windows import LaggedWindows

#: Losses of stage 1 that are logged beside the total.
LOGGED = ("prediction", "variance", "covariance", "ground", "spectral", "gain")
_TIMED = 256  # frames that the forecast looks at
_LATENTS = "latents.npz"  # of every frame, in the folder of a training
_CHAIN = 5  # tokens from which on distances between them are decoded
_PRIOR_FRAMES = 2000  # of the energy head's linear part: 66 forces each for 22 atoms, more than enough


def build_surrogate(
    data: Data, labels: Labels | None, config: TrainingConfig, run: TrainingRun
) -> tuple[Surrogate, NDArray[np.float64], Landmarks]:
    """Run all stages; the surrogate, autocorrelations of its axes, and where data lie; without labels, no energies."""
    encoder = train_encoder(data, config, run)
    basis, correlation, axes, held_axes = split_axes(encoder, data, config, run)
    positions = torch.from_numpy(np.concatenate(data.train))
    w = torch.from_numpy(np.concatenate(axes))
    decoder = train_decoder(data, w, positions, held_axes=held_axes, config=config, run=run)
    k = basis.n_slow
    fast: Any = run.stage(_spread(w, k, config))
    slow = [np.ascontiguousarray(a[:, :k]) for a in axes]
    predictor = run.stage(predictor_stage(build_predictor(slow, config), slow, config))
    energy, latent_energy = None, None
    if labels is not None:
        energy, latent_energy = train_energies(
            encoder, data.topology, positions, w=w, labels=labels, config=config, run=run
        )
    return (
        Surrogate(
            encoder, basis, predictor, fast=fast, decoder=decoder, energy_head=energy, latent_energy_head=latent_energy
        ).eval(),
        correlation,
        landmarks(slow, [a[:, :k] for a in held_axes], config.seed),
    )


def forecast(data: Data, config: TrainingConfig, run: TrainingRun) -> dict[str, float]:
    """Seconds that stages and encoding will take, those of the energies aside, from a few steps on random axes."""
    frames, there = some_frames(data.train, _TIMED), run.torch_device
    embedding = _embedding(data, config, frames)
    encoder: Any = embedding.module.encoder
    axes = torch.randn(len(frames), encoder.n_tokens * config.encoder.token_dim)
    k = min(config.latent.slow_axes[1], axes.shape[1] - 1)
    slow = [np.zeros((len(x), k), np.float32) for x in data.train]
    predictor = predictor_stage(build_predictor([axes[:, :k].numpy()], config), slow, config)
    decoding = _decoding(data, config, frames, axes=axes, positions=frames)
    made = [embedding, decoding, _spread(axes, k, config), predictor]
    found = {stage.name: stage.forecast(there) for stage in made if not run.finished(stage.name)}
    if not (run.resume and (run.folder / _LATENTS).exists()):
        start = time.monotonic()
        encode_all(encoder, [frames.numpy()])
        found["encode"] = (time.monotonic() - start) * sum(map(len, data.train + data.validation)) / len(frames)
    return found


def some_frames(trajectories: list[NDArray[np.float32]], frames: int = STATISTICS_FRAMES) -> torch.Tensor:
    """About so many evenly spaced frames over all trajectories, [frames, atoms, 3] nm."""
    every = max(1, sum(map(len, trajectories)) // few(frames, trajectories[0].shape[1]))
    return torch.from_numpy(np.concatenate([t[::every] for t in trajectories]))


def new_encoder(topology: Any, config: TrainingConfig, frames: torch.Tensor | None = None) -> AtomEncoder:
    """The untrained encoder of one molecule that the configuration names."""
    seen = Observed(torch.zeros(0, topology.n_atoms, 3) if frames is None else frames, topology)
    encoder: Any = encoder_of(config.encoder.kind, True).build(seen, config.encoder)
    made: AtomEncoder = encoder
    return made


def build_jepa(encoder: AtomEncoder, ground: TorsionDecoder, config: TrainingConfig) -> JEPA:
    """The networks that stage 1 trains: encoder, predictor, objective, and read-outs that guide the latent."""
    c = config.jepa
    dim = config.encoder.token_dim
    objective = build_objective(c, config.seed)
    predictor = ResidualPredictor(dim, c.lag, c.predictor_width, tokens=encoder.n_tokens)
    spectral = nn.Linear(encoder.n_tokens * dim, c.spectral_features) if c.spectral > 0 else None
    guides = {"ground": Guide(ground, c.ground), "spectral": Guide(spectral, c.spectral)}
    return JEPA(encoder, predictor, objective, dim=dim, scheme=scheme_of(c), **guides)


def jepa_stage(jepa: JEPA, trajectories: list[NDArray[np.float32]], config: TrainingConfig) -> Stage:
    """Stage 1 on positions; rank and deviations of the latent are logged beside the losses."""
    c = config.jepa
    windows = LaggedWindows(trajectories, (c.lag[0] / config.stride, c.lag[1] / config.stride), c.rollout)
    return embedding_stage(jepa, windows, c, config.seed, terms=LOGGED, interval=config.stride)


def _embedding(data: Data, config: TrainingConfig, frames: torch.Tensor) -> Stage:
    encoder = new_encoder(data.topology, config, frames[:: max(1, len(frames) // 512)])
    ground = TorsionDecoder(
        InternalCoordinates.from_topology(data.topology), encoder.n_tokens * config.encoder.token_dim, width=0
    )
    ground.fit_statistics(frames)
    _begin_at_the_mean(ground, frames[:: max(1, len(frames) // 512)])
    return jepa_stage(build_jepa(encoder, ground, config), data.train, config)


@torch.no_grad()
def _begin_at_the_mean(ground: TorsionDecoder, frames: torch.Tensor) -> None:
    """Let a linear read-out begin at the mean of some frames, or its first gradients shift all latents alike."""
    turns, _ = ground.targets(frames)
    linear: Any = ground.network
    linear.weight.zero_()
    linear.bias.zero_()
    linear.bias[: 2 * ground.n_drivers] = torch.stack([turns.cos(), turns.sin()], dim=-1).mean(0).flatten()


def train_encoder(data: Data, config: TrainingConfig, run: TrainingRun) -> AtomEncoder:
    """Stage 1; the frozen encoder is the JEPA's target."""
    trained: Any = run.stage(_embedding(data, config, some_frames(data.train)))
    seen = collapse_diagnostics(trained, some_frames(data.train, 512))
    append_rows(run.log, "jepa", config.jepa.steps, seen)
    frozen: AtomEncoder = trained.target.requires_grad_(False).eval()
    return frozen


def project(basis: LatentBasis, latents: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Latents [frames, tokens · dim] of each trajectory → whitened axes [frames, axes], slow ones first."""
    mean, matrix = basis.mean.cpu().numpy(), basis.matrix.cpu().numpy()
    return [((z - mean) @ matrix).astype(np.float32) for z in latents]


def split_axes(
    encoder: AtomEncoder, data: Data, config: TrainingConfig, run: TrainingRun
) -> tuple[LatentBasis, NDArray[np.float64], list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Encode everything once, fit the basis, and return the axes of the training and of the held-out frames."""
    cache = run.folder / _LATENTS
    everything = data.train + data.validation
    if run.resume and cache.exists():
        with np.load(cache) as stored:
            latents = [stored[f"z{i}"] for i in range(len(everything))]
    else:
        start = time.perf_counter()
        latents = [z.reshape(len(z), -1) for z in encode_all(encoder, everything)]
        run.record("encode", time.perf_counter() - start)
        arrays: dict[str, Any] = {f"z{i}": z for i, z in enumerate(latents)}
        write_npz(cache, arrays)
    lag = max(1, round(config.latent.lag / config.stride))
    anchors = soft_torsions(data, config.latent.soft_torsion) if config.latent.soft_torsion < 180 else []
    basis, correlation = fit_basis(
        latents[: len(data.train)], lag, config.latent.threshold, config.latent.slow_axes, anchors
    )
    axes = project(basis, latents)
    return basis, correlation, axes[: len(data.train)], axes[len(data.train) :]


def centres_of(data: Data) -> list[int]:
    """An atom of each token of a chain, CA or the heavy atom with most bonds; none of molecules of few tokens."""
    tokens = data.graph.tokens.tolist()
    if max(tokens) < _CHAIN:
        return []
    bonds = [0] * len(tokens)
    for a, b in data.topology.bonds:
        bonds[a.index], bonds[b.index] = bonds[a.index] + 1, bonds[b.index] + 1
    atoms = list(data.topology.atoms)
    found: dict[int, int] = {}
    for i in sorted(range(len(tokens)), key=lambda i: (atoms[i].name != "CA", -bonds[i])):
        found.setdefault(tokens[i], i)
    return sorted(found.values())


def decoder_stage(decoder: TorsionDecoder, axes: Tensor, positions: Tensor, config: TrainingConfig) -> Stage:
    """Stage 2a: frozen axes [frames, axes] → internal coordinates of the frames [frames, atoms, 3]."""
    c = config.decoder

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(axes), (c.batch,), generator=generator)
        there = device_of(decoder)
        return {"loss": decoder.loss(axes[rows].to(there), positions[rows].to(there))}

    how = Optimisation(steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, average=0.99)
    return Stage("decoder", decoder, losses, how)


def _decoding(
    data: Data, config: TrainingConfig, frames: torch.Tensor, *, axes: torch.Tensor, positions: torch.Tensor
) -> Stage:
    coordinates, centres = InternalCoordinates.from_topology(data.topology), centres_of(data)
    decoder = TorsionDecoder(coordinates, axes.shape[1], config.decoder.width, centres)
    decoder.fit_statistics(frames)
    return decoder_stage(decoder, axes, positions, config)


def train_decoder(
    data: Data,
    w: torch.Tensor,
    positions: torch.Tensor,
    held_axes: list[NDArray[np.float32]],
    config: TrainingConfig,
    run: TrainingRun,
) -> TorsionDecoder:
    """Stage 2a; what it leaves is kept of held-out frames, or of training frames where none are held out."""
    trained: Any = run.stage(_decoding(data, config, some_frames(data.train), axes=w, positions=positions))
    held = torch.from_numpy(np.concatenate(held_axes)) if held_axes else w
    held_positions = torch.from_numpy(np.concatenate(data.validation)) if data.validation else positions
    rows = slice(None, None, max(1, len(held) // few(50_000, held_positions.shape[1])))
    trained.fit_residual(held[rows], held_positions[rows])
    result: TorsionDecoder = trained
    return result


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
        mean, scale, rest = flow.loss(*(part.to(there) for part in (y, context, nothing, noise, u)))
        return {"loss": mean + scale + rest, "mean": mean, "scale": scale, "flow": rest}

    how = Optimisation(steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, average=c.average)
    return Stage("fast", flow, losses, how)


def _spread(axes: torch.Tensor, k: int, config: TrainingConfig) -> Stage:
    s = config.fast
    flow = ConditionalFlow(axes.shape[1] - k, k, 0, s.width, s.depth, solver_steps=s.solver_steps)
    return fast_stage(flow, axes[:, :k].contiguous(), axes[:, k:].contiguous(), config)


def build_predictor(slow: list[NDArray[np.float32]], config: TrainingConfig) -> nn.Module:
    """The untrained stochastic predictor that the configuration names, of slow axes [frames, axes]."""
    c = config.predictor
    return predictor_of(c.kind, True).build(Latent(1, slow[0].shape[1], c.lag, slow, config.seed), c)


def predictor_stage(predictor: nn.Module, slow: list[NDArray[np.float32]], config: TrainingConfig) -> Stage:
    """Stage 3: stochastic steps of the slow axes on cached latents, at lags log-uniform in the configured range.

    At equilibrium, with positions alone, a pair and its time reverse are equally likely (detailed balance), so half
    of the pairs are reversed unless the configuration says that the data are not at equilibrium.
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
    """Energy head on engine energies [frames] and forces [frames, atoms, 3]."""
    c = config.energy

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(positions), (c.batch,), generator=generator)
        x, energy, target = (part[rows].to(device_of(head)) for part in (positions, energies, forces))
        loss, force = head.loss(x, energy, target, c.force_weight)
        return {"loss": loss, "force": force}

    how = Optimisation(steps=c.steps, learning_rate=c.learning_rate, seed=config.seed, average=0.99)
    return Stage("energy", head, losses, how)


def latent_energy_stage(head: LatentEnergyHead, axes: Tensor, energies: Tensor, config: TrainingConfig) -> Stage:
    """E[U | z] and its variance from frozen axes."""
    c = config.energy

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(axes), (1024,), generator=generator)
        there = device_of(head)
        return {"loss": head.loss(axes[rows].to(there), energies[rows].to(there))}

    how = Optimisation(steps=c.latent_steps, learning_rate=0.001, seed=config.seed)
    return Stage("latent-energy", head, losses, how)


def train_energies(
    encoder: AtomEncoder,
    topology: Any,
    positions: torch.Tensor,
    w: torch.Tensor,
    labels: Labels,
    config: TrainingConfig,
    run: TrainingRun,
) -> tuple[EnergyHead, LatentEnergyHead]:
    """Both energy heads; a network of the one with forces, where it needs one, starts from a copy of the encoder."""
    frames, energies = positions[labels.rows], labels.energies
    start = time.perf_counter()
    prior = MechanicsPrior(topology)
    every = max(2, len(frames) // _PRIOR_FRAMES)
    prior.fit(frames[::every], energies[::every], labels.forces[::every])
    error = prior.force_error(frames[1::every], labels.forces[1::every])
    run.record("energy prior", time.perf_counter() - start)
    rest = energies - prior(frames)
    needed = error > config.energy.tolerance
    head = EnergyHead(
        copy.deepcopy(encoder).requires_grad_(True) if needed else None,
        prior,
        float(rest.mean()),
        float(rest.std().clamp_min(1e-3)),
    )
    trained: Any = head
    if needed:
        trained = run.stage(energy_stage(head, frames, energies, labels.forces, config))
    latent = LatentEnergyHead(w.shape[1], float(energies.mean()), float(energies.std().clamp_min(1e-3)))
    trained_latent: Any = run.stage(latent_energy_stage(latent, w[labels.rows], energies, config))
    return trained, trained_latent
