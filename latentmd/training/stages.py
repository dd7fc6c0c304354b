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
from latentmd.heads.energy import EnergyHead, LatentEnergyHead, MechanicsPrior
from latentmd.io.atomic import write_npz
from latentmd.model.manifest import Landmarks
from latentmd.model.surrogate import Surrogate
from latentmd.systems.builder import Molecule
from latentmd.training.config import Steps, TrainingConfig
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
)
from latentmd.training.labels import Labels, energy_labels
from latentmd.training.loop import LossFunction, Optimisation, Stage, append_rows
from latentmd.training.parts import Latent, LatentWindow, Observed, encoder_of, predictor_of
from latentmd.training.run import TrainingRun
from latentmd.training.windows import LaggedWindows

#: Losses of stage 1 that are logged beside the total.
LOGGED = ("prediction", "variance", "covariance", "ground", "spectral", "gain")
_TIMED = 256  # frames that the forecast looks at
_BEGIN = 512  # frames that an untrained encoder looks at
_LATENTS = "latents.npz"  # of every frame, in the folder of a training
_SOLVED = 4096  # frames of a linear decoder that are looked at together
_OF_NO_BOND = 0.03, 0.35  # nm and rad, deviations that lengths and angles between molecules alone have
_PRIOR_FRAMES = 2000  # of the energy head's linear part: 66 forces each for 22 atoms, more than enough


class SurrogateTraining:
    """The stages of a training in order, each fed by the ones before it, and the surrogate that they make.

    Attributes:
        data, config, run: what it learns, how, and where it writes and reports.
        molecule: what computes energies; without it none are learnt.
        labels: energies and forces of frames; None before `surrogate`, and where no energies are learnt.
    """

    labels: Labels | None = None

    def __init__(self, data: Data, config: TrainingConfig, run: TrainingRun, molecule: Molecule | None = None) -> None:
        self.data, self.config, self.run, self.molecule = data, config, run, molecule

    def surrogate(self) -> tuple[Surrogate, NDArray[np.float64], Landmarks]:
        """Run all stages; the surrogate, autocorrelations of its axes, and where data lie."""
        torch.manual_seed(self.config.seed)
        if self.molecule is not None:
            self.labels = energy_labels(self.data, self.molecule, self.config, self.run)
        encoder = self._train_encoder()
        basis, correlation, axes, held_axes = self.split_axes(encoder)
        w = torch.from_numpy(np.concatenate(axes))
        decoder = self._train_decoder(w, held_axes)
        k = basis.n_slow
        fast: Any = self.run.stage(self.fast(w, k))
        slow = [np.ascontiguousarray(a[:, :k]) for a in axes]
        predictor = self.run.stage(self.predictor(slow))
        energy, latent_energy = self._train_energies(encoder, w)
        surrogate = Surrogate(
            encoder, basis, predictor, fast=fast, decoder=decoder, energy_head=energy, latent_energy_head=latent_energy
        )
        return surrogate.eval(), correlation, landmarks(slow, [a[:, :k] for a in held_axes], self.config.seed)

    def forecast(self) -> dict[str, float]:
        """Seconds that stages and encoding will take, without the energies, from a few steps on random axes."""
        data, there, total = self.data, self.run.torch_device, sum(map(len, self.data.train))
        embedding, some = self.embedding(_TIMED), data.train[0][:_TIMED]
        encoder: Any = embedding.module.encoder
        axes = torch.randn(min(_TIMED, total), encoder.n_tokens * self.config.encoder.token_dim)
        k = min(self.config.latent.slow_axes[1], axes.shape[1] - 1)
        made = [embedding, self.fast(axes, k), self.predictor([np.zeros((len(x), k), np.float32) for x in data.train])]
        made[1:1] = [self.decoding(axes, _TIMED)] if self.config.decoder.width else []
        found = {stage.name: stage.forecast(there) for stage in made if not self.run.finished(stage.name)}
        if not (self.run.resume and (self.run.folder / _LATENTS).exists()):
            start = time.monotonic()
            encode_all(encoder, [some])
            found["encode"] = (time.monotonic() - start) * (total + sum(map(len, data.validation))) / len(some)
        return found

    def _stage(
        self, name: str, module: nn.Module, losses: LossFunction, settings: Steps, average: float | None
    ) -> Stage:
        how = Optimisation(settings.learning_rate, self.config.seed, settings.steps, average=average)
        return Stage(name, module, losses, how)

    def embedding(self, frames: int = STATISTICS_FRAMES) -> Stage:
        """Stage 1 on positions, its read-out fitted to so many frames; the latent's rank is logged beside the losses.

        The networks: encoder, predictor, objective, and read-outs that guide the latent.
        """
        c, dim, stride = self.config.jepa, self.config.encoder.token_dim, self.config.stride
        fitted = some_frames(self.data.train, frames)
        first = fitted[:: max(1, len(fitted) // _BEGIN)]
        encoder = new_encoder(self.data.topology, self.config, first)
        ground = TorsionDecoder(InternalCoordinates.from_topology(self.data.topology), encoder.n_tokens * dim, width=0)
        ground.fit_statistics(fitted)
        ground.begin_at_the_mean(first)
        objective = build_objective(c, self.config.seed)
        predictor = ResidualPredictor(dim, c.lag, c.predictor_width, tokens=encoder.n_tokens)
        spectral = nn.Linear(encoder.n_tokens * dim, c.spectral_features) if c.spectral > 0 else None
        guides = {"ground": Guide(ground, c.ground), "spectral": Guide(spectral, c.spectral)}
        jepa = JEPA(encoder, predictor, objective, dim=dim, scheme=scheme_of(c), **guides)
        windows = LaggedWindows(self.data.train, (c.lag[0] / stride, c.lag[1] / stride), c.rollout)
        return embedding_stage(jepa, windows, c, self.config.seed, terms=LOGGED, interval=stride)

    def _train_encoder(self) -> AtomEncoder:
        """Stage 1; the frozen encoder is the JEPA's target."""
        trained: Any = self.run.stage(self.embedding())
        seen = collapse_diagnostics(trained, some_frames(self.data.train, 512))
        append_rows(self.run.log, "jepa", self.config.jepa.steps, seen)
        frozen: AtomEncoder = trained.target.requires_grad_(False).eval()
        return frozen

    def split_axes(
        self, encoder: AtomEncoder
    ) -> tuple[LatentBasis, NDArray[np.float64], list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        """Encode everything once, fit the basis, and return the axes of the training and of the held-out frames."""
        cache, c, lengths = self.run.folder / _LATENTS, self.config.latent, len(self.data.train)
        everything = self.data.train + self.data.validation
        if self.run.resume and cache.exists():
            with np.load(cache) as stored:
                latents = [stored[f"z{i}"] for i in range(len(everything))]
        else:
            start = time.perf_counter()
            latents = [z.reshape(len(z), -1) for z in encode_all(encoder, everything)]
            self.run.record("encode", time.perf_counter() - start)
            arrays: dict[str, Any] = {f"z{i}": z for i, z in enumerate(latents)}
            write_npz(cache, arrays)
        lag = max(1, round(c.lag / self.config.stride))
        anchors = self.soft_torsions() if c.soft_torsion < 180 else []
        basis, correlation = fit_basis(latents[:lengths], lag, c.threshold, c.slow_axes, anchors)
        mean, matrix = basis.mean.cpu().numpy(), basis.matrix.cpu().numpy()
        axes = [((z - mean) @ matrix).astype(np.float32) for z in latents]
        return basis, correlation, axes[:lengths], axes[lengths:]

    def soft_torsions(self) -> list[NDArray[np.float32]]:
        """Cosines and sines of the rotatable torsions whose circular deviation exceeds the configured degrees, and
        cosines of the angles and logarithms of the lengths between molecules.

        Rotors of equivalent hydrogens are left out. Returns one array [frames, anchors] per training trajectory.
        """
        coordinates = InternalCoordinates.from_topology(self.data.topology)
        index = coordinates.driver_index[coordinates.driver_kind == 0]
        size = few(STATISTICS_FRAMES, self.data.topology.n_atoms)
        parts = [[coordinates.to_internal(part) for part in torch.from_numpy(x).split(size)] for x in self.data.train]
        lengths, bends, turns = ([torch.cat([part[kind] for part in run]) for run in parts] for kind in range(3))
        turns = [a[:, index] for a in turns]
        everything = torch.cat(turns)
        order = torch.hypot(everything.cos().mean(0), everything.sin().mean(0)).clamp(1e-6, 1.0)
        soft = torch.rad2deg(torch.sqrt(-2 * torch.log(order))) > self.config.latent.soft_torsion
        long, bent = (torch.cat(x).std(0) > least for x, least in zip((lengths, bends), _OF_NO_BOND, strict=True))
        found = [
            torch.cat([a[:, soft].cos(), a[:, soft].sin(), b[:, bent].cos(), c[:, long].log()], dim=1).numpy()
            for a, b, c in zip(turns, bends, lengths, strict=True)
        ]
        return found if found[0].shape[1] else []

    def decoding(self, axes: Tensor, frames: int = STATISTICS_FRAMES) -> Stage:
        """Stage 2a: frozen axes [frames, axes] → internal coordinates, whose statistics are of so many frames."""
        c, positions = self.config.decoder, torch.from_numpy(np.concatenate(self.data.train))
        decoder = TorsionDecoder(InternalCoordinates.from_topology(self.data.topology), axes.shape[1], c.width)
        decoder.fit_statistics(some_frames(self.data.train, frames))

        def losses(generator: torch.Generator) -> dict[str, Tensor]:
            rows = torch.randint(len(axes), (c.batch,), generator=generator)
            there = device_of(decoder)
            return {"loss": decoder.loss(axes[rows].to(there), positions[rows].to(there))}

        return self._stage("decoder", decoder, losses, c, average=0.99)

    def _train_decoder(self, w: Tensor, held_axes: list[NDArray[np.float32]]) -> TorsionDecoder:
        """Stage 2a, of a linear read-out without steps; what it leaves is kept of held-out frames, if there are any."""
        stage = self.decoding(w)
        trained: Any = self.run.stage(stage) if self.config.decoder.width else stage.module
        if trained.linear:
            trained.solve(w, torch.from_numpy(np.concatenate(self.data.train)), few(_SOLVED, trained.n_atoms))
        held = torch.from_numpy(np.concatenate(held_axes)) if held_axes else w
        positions = torch.from_numpy(np.concatenate(self.data.validation or self.data.train))
        rows = slice(None, None, max(1, len(held) // few(50_000, positions.shape[1])))
        trained.fit_residual(held[rows], positions[rows])
        result: TorsionDecoder = trained
        return result

    def fast(self, axes: Tensor, k: int) -> Stage:
        """Stage 2b: the conditional distribution of the fast axes given the k slow ones, which come first."""
        c, (slow, fast) = self.config.fast, (axes[:, :k].contiguous(), axes[:, k:].contiguous())
        flow = ConditionalFlow(fast.shape[1], k, 0, c.width, c.depth, solver_steps=c.solver_steps)
        nothing = torch.zeros(c.batch, 0)

        def losses(generator: torch.Generator) -> dict[str, Tensor]:
            rows = torch.randint(len(slow), (c.batch,), generator=generator)
            noise = torch.randn(c.batch, 1, fast.shape[1], generator=generator)
            u = torch.rand(c.batch, generator=generator)
            y, context = fast[rows].unsqueeze(1), slow[rows].unsqueeze(1)
            there = device_of(flow)
            mean, scale, rest = flow.loss(*(part.to(there) for part in (y, context, nothing, noise, u)))
            return {"loss": mean + scale + rest, "mean": mean, "scale": scale, "flow": rest}

        return self._stage("fast", flow, losses, c, c.average)

    def predictor(self, slow: list[NDArray[np.float32]]) -> Stage:
        """Stage 3: stochastic steps of the slow axes [frames, k], at lags log-uniform in the configured range.

        At equilibrium, with positions alone, a pair and its time reverse are equally likely (detailed balance), so half
        of the pairs are reversed unless the configuration says that the data are not at equilibrium.
        """
        c, stride = self.config.predictor, self.config.stride
        kind = predictor_of(c.kind, True)
        predictor = kind.build(Latent(1, slow[0].shape[1], c.lag, slow, self.config.seed), c)
        windows = LaggedWindows(slow, (c.lag[0] / stride, c.lag[1] / stride), 1)

        def losses(generator: torch.Generator) -> dict[str, Tensor]:
            (now, future), lag = windows.sample(c.batch, generator)
            if c.time_reversal:
                swap = (torch.rand(c.batch, 1, generator=generator) < 0.5).to(now)
                now, future = now + swap * (future - now), future + swap * (now - future)
            there = device_of(predictor)
            pair = [x.unsqueeze(1).to(there) for x in (now, future)]
            return kind.loss(predictor, LatentWindow(pair, (lag * stride).to(there), generator), c)

        return self._stage("predictor", predictor, losses, c, c.average)

    def _train_energies(
        self, encoder: AtomEncoder, w: Tensor
    ) -> tuple[EnergyHead, LatentEnergyHead] | tuple[None, None]:
        """Both energy heads; the network of the one with forces, if it needs one, starts as a copy of the encoder."""
        if self.labels is None:
            return None, None
        rows, frames, energies, forces = self.labels
        start = time.perf_counter()
        prior = MechanicsPrior(self.data.topology)
        every = max(2, len(frames) // _PRIOR_FRAMES)
        prior.fit(frames[::every], energies[::every], forces[::every])
        error = prior.force_error(frames[1::every], forces[1::every])
        self.run.record("energy prior", time.perf_counter() - start)
        rest = energies - prior(frames)
        c, needed = self.config.energy, error > self.config.energy.tolerance
        network = copy.deepcopy(encoder).requires_grad_(True) if needed else None
        head = EnergyHead(network, prior, float(rest.mean()), float(rest.std().clamp_min(1e-3)))

        def losses(generator: torch.Generator) -> dict[str, Tensor]:
            chosen = torch.randint(len(frames), (c.batch,), generator=generator)
            x, energy, target = (part[chosen].to(device_of(head)) for part in (frames, energies, forces))
            loss, force = head.loss(x, energy, target, c.force_weight)
            return {"loss": loss, "force": force}

        trained: Any = self.run.stage(self._stage("energy", head, losses, c, average=0.99)) if needed else head
        latent = LatentEnergyHead(w.shape[1], float(energies.mean()), float(energies.std().clamp_min(1e-3)))

        def latent_losses(generator: torch.Generator) -> dict[str, Tensor]:
            """E[U | z] and its variance from frozen axes."""
            chosen = torch.randint(len(rows), (1024,), generator=generator)
            there = device_of(latent)
            return {"loss": latent.loss(w[rows[chosen]].to(there), energies[chosen].to(there))}

        how = Optimisation(learning_rate=0.001, seed=self.config.seed, steps=c.latent_steps)
        trained_latent: Any = self.run.stage(Stage("latent-energy", latent, latent_losses, how))
        return trained, trained_latent


def some_frames(trajectories: list[NDArray[np.float32]], frames: int = STATISTICS_FRAMES) -> Tensor:
    """About so many evenly spaced frames over all trajectories, [frames, atoms, 3] nm."""
    every = max(1, sum(map(len, trajectories)) // few(frames, trajectories[0].shape[1]))
    return torch.from_numpy(np.concatenate([t[::every] for t in trajectories]))


def new_encoder(topology: Any, config: TrainingConfig, frames: Tensor | None = None) -> AtomEncoder:
    """The untrained encoder of one molecule that the configuration names."""
    seen = Observed(torch.zeros(0, topology.n_atoms, 3) if frames is None else frames, topology)
    encoder: Any = encoder_of(config.encoder.kind, True).build(seen, config.encoder)
    made: AtomEncoder = encoder
    return made
