"""Train a surrogate from trajectories: load, run the stages in order, write the bundle, the log and the plot."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentmd.core.basis import LatentBasis, fit_basis
from latentmd.core.predictors import ConditionalFlow
from latentmd.data.graph import FEATURE_SIZES, MoleculeGraph, fingerprint, molecule_graph
from latentmd.data.trajectory import load_positions
from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.decoders.torsions import TorsionDecoder
from latentmd.encoders.egnn import EGNNEncoder, MoleculeEncoder
from latentmd.heads.energy import EnergyHead, LatentEnergyHead
from latentmd.heads.mechanics import MechanicsPrior
from latentmd.surrogate import Surrogate
from latentmd.training import stages
from latentmd.training.config import TrainingConfig
from latentmd.training.labels import engine_labels
from latentmd.training.loop import Stage, append_rows, run_stage
from latentmd.training.plots import plot_training
from latentmd.training.reference import training_reference

Report = Callable[[str, int, int, dict[str, float]], None]

_PRIOR_FRAMES = 2000  # of the energy head's linear part: 66 forces each for 22 atoms, more than enough
_STATISTICS_FRAMES = 50_000  # enough for means and spreads of internal coordinates


@dataclass
class Run:
    """What the stages share: where they write, how they report, and how long each took."""

    folder: Path
    log: Path
    report: Report
    device: str
    precision: str
    devices: int | str
    resume: bool
    stages: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def record(self, name: str, seconds: float) -> None:
        """Keep the wall time of a finished part, beside the checkpoints, so that a resumed run still knows it."""
        path = self.folder / "seconds.json"
        if self.resume and path.exists():
            self.seconds = json.loads(path.read_text(encoding="utf-8")) | self.seconds
        self.seconds[name] = round(seconds, 1)
        path.write_text(json.dumps(self.seconds, indent=1), encoding="utf-8")

    def stage(self, stage: Stage) -> torch.nn.Module:
        loaded = self.resume and (self.folder / f"{stage.name}.pt").exists()
        start = time.perf_counter()
        module = run_stage(
            stage, self.folder, log=self.log, report=self.report, device=self.device, precision=self.precision,
            devices=self.devices, resume=self.resume,
        )  # fmt: skip
        if not loaded:
            self.record(stage.name, time.perf_counter() - start)
        # First weights of the next stage must not depend on whether this one was run or loaded.
        self.stages += 1
        torch.manual_seed(stage.seed + self.stages)
        return module.eval().cpu()


@dataclass(frozen=True)
class Data:
    """Training trajectories: positions [frames, atoms, 3] nm each, the held-out ones, and the molecule's graph."""

    train: list[NDArray[np.float32]]
    validation: list[NDArray[np.float32]]
    names: dict[str, list[str]]
    topology: Any
    graph: MoleculeGraph


def train(
    trajectories: Sequence[str | Path],
    top: str | Path,
    out: str | Path,
    config: TrainingConfig | None = None,
    *,
    name: str = "",
    resume: bool = False,
    device: str = "auto",
    precision: str = "32-true",
    devices: int | str = 1,
    report: Report | None = None,
) -> Path:
    """Train a surrogate of one molecule and write it as a bundle.

    Beside the bundle it writes `<stem>-training/` with checkpoints, cached latents, `training.csv` and
    `training.png`. With `resume`, finished stages are loaded and the interrupted one goes on from its checkpoint.

    Args:
        trajectories: files that mdtraj reads, of one molecule, equally spaced in time.
        top: PDB file of the molecule.
        out: path of the bundle.
        config: training configuration; defaults otherwise.
        name: name of the model in its manifest.
        device, precision, devices: as Lightning takes them ("auto", "cpu", "cuda"; "32-true", "bf16-mixed"; number).
        report: called with (stage, step, steps, losses) as training goes on.

    Returns:
        The path of the bundle.
    """
    from latentmd import bundle

    config = config or TrainingConfig()
    out = Path(out)
    folder = out.with_name(out.stem + "-training")
    log = folder / "training.csv"
    run = Run(folder, log, report or (lambda *_: None), device, precision, devices, resume)
    data = load_data(trajectories, top, config)
    prepare_folder(folder, {"settings": config.model_dump(mode="json"), "trajectories": data.names}, resume)
    torch.manual_seed(config.seed)
    labels = energy_labels(data, top, config, run)
    surrogate, autocorrelations = build_surrogate(data, labels, config, run)
    manifest = {
        "name": name or out.stem,
        "topology": _pdb_text(top),
        "fingerprint": fingerprint(data.topology),
        "tokens": data.graph.tokens.tolist(),
        "lag": config.predictor.lag,
        "frame_interval": config.stride,
        "temperature": config.temperature,
        "friction": config.friction,
        "timestep": config.timestep,
        "hydrogen_mass": config.hydrogen_mass,
        "solvent": config.solvent,
        "force_field": list(config.force_field) or _default_force_field(config),
        "split": data.names,
        "seed": config.seed,
        "slow_axes": surrogate.basis.n_slow,
        "slow_autocorrelations": [float(v) for v in autocorrelations[: surrogate.basis.n_slow]],
        "autocorrelation_lag": config.latent.lag,
        "metrics": {},
        "half_precision": ["fast", "predictor"],
        "reference": training_reference(data.train + data.validation, data.topology, labels.energies.double().numpy()),
        "training": {
            "config": config.model_dump(mode="json"),
            "seconds": run.seconds,
        },
    }
    bundle.save(out, surrogate, manifest)
    plot_training(log, folder / "training.png")
    return out


def prepare_folder(folder: Path, plan: dict[str, Any], resume: bool) -> None:
    """Make the folder of a run and empty it of another's files; to resume, the plan must be the one it was made for.

    Raises:
        ValueError: the folder's checkpoints belong to another configuration or other trajectories.
    """
    record = folder / "plan.json"
    folder.mkdir(parents=True, exist_ok=True)
    if resume and record.exists():
        before = json.loads(record.read_text(encoding="utf-8"))
        differing = [part for part in plan if before.get(part) != plan[part]]
        if differing:
            raise ValueError(
                f"{folder} holds a training with other {' and '.join(differing)}; resume with what it began with, "
                "or start anew with --overwrite instead of --resume"
            )
    if not resume:
        for pattern in ("*.pt", "*.ckpt", "*.npz", "training.*", "seconds.json"):
            for stale in folder.glob(pattern):
                stale.unlink(missing_ok=True)
    record.write_text(json.dumps(plan, indent=1), encoding="utf-8")


def _default_force_field(config: TrainingConfig) -> list[str]:
    from latentmd.systems.builder import DEFAULT_FORCE_FIELDS

    return list(DEFAULT_FORCE_FIELDS[config.solvent])


def _pdb_text(top: str | Path) -> str:
    return Path(top).read_text(encoding="utf-8")


def load_data(trajectories: Sequence[str | Path], top: str | Path, config: TrainingConfig) -> Data:
    """Read, check and stride the trajectories; the last `holdout` of them validate.

    Raises:
        ValueError: too few trajectories for the split, or frames spaced wider than the configured stride.
    """
    import mdtraj

    if len(trajectories) <= config.holdout:
        raise ValueError(
            f"{len(trajectories)} trajectories given and {config.holdout} held out; give at least {config.holdout + 1} "
            "independent runs, or set holdout = 0 to train without validation"
        )
    positions, interval = load_positions(trajectories, top)
    every = round(config.stride / interval)
    if every < 1 or abs(every * interval - config.stride) > 1e-6 * config.stride:
        raise ValueError(
            f"frames are {interval:g} ps apart and stride is {config.stride:g} ps; "
            f"set stride to a multiple of {interval:g}"
        )
    strided = [np.ascontiguousarray(p[::every]) for p in positions]
    names = [Path(t).name for t in trajectories]
    split = len(strided) - config.holdout
    topology = mdtraj.load(str(top)).topology
    return Data(
        strided[:split],
        strided[split:],
        {"train": names[:split], "validation": names[split:]},
        topology,
        molecule_graph(topology),
    )


@dataclass(frozen=True)
class Labels:
    """Engine energies [frames] kJ/mol and forces [frames, atoms, 3] kJ/mol/nm of some rows of the training frames."""

    rows: torch.Tensor
    energies: torch.Tensor
    forces: torch.Tensor


def energy_labels(data: Data, top: str | Path, config: TrainingConfig, run: Run) -> Labels:
    """Label evenly spaced training frames with the engine."""
    start = time.perf_counter()
    positions = np.concatenate(data.train)
    rows = np.linspace(0, len(positions) - 1, min(config.energy.frames, len(positions))).astype(np.int64)
    energies, forces = engine_labels(top, positions[rows], config)
    run.record("labels", time.perf_counter() - start)
    return Labels(
        torch.from_numpy(rows),
        torch.from_numpy(energies.astype(np.float32)),
        torch.from_numpy(forces.astype(np.float32)),
    )


def build_surrogate(
    data: Data, labels: Labels, config: TrainingConfig, run: Run
) -> tuple[Surrogate, NDArray[np.float64]]:
    """Run all stages; returns the surrogate and the autocorrelations of its latent axes."""
    encoder = train_encoder(data, config, run)
    basis, correlation, axes, held_axes = split_axes(encoder, data, config, run)
    positions = torch.from_numpy(np.concatenate(data.train))
    w = torch.from_numpy(np.concatenate(axes))
    decoder = train_decoder(data, w, positions, held_axes, config, run)
    k = basis.n_slow
    untrained = ConditionalFlow(
        basis.n_fast, k, 0, config.fast.width, config.fast.depth, solver_steps=config.fast.solver_steps
    )
    fast: Any = run.stage(stages.fast_stage(untrained, w[:, :k].contiguous(), w[:, k:].contiguous(), config))
    slow = [np.ascontiguousarray(a[:, :k]) for a in axes]
    predictor = run.stage(stages.predictor_stage(stages.build_predictor(slow, config), slow, config))
    energy, latent_energy = train_energies(encoder, data.topology, positions, w, labels, config, run)
    return Surrogate(encoder, basis, predictor, fast, decoder, energy, latent_energy).eval(), correlation


def new_encoder(graph: MoleculeGraph, config: TrainingConfig) -> MoleculeEncoder:
    """An untrained encoder of one molecule."""
    c = config.encoder
    egnn = EGNNEncoder(FEATURE_SIZES, c.token_dim, c.width, c.depth, c.vectors)
    return MoleculeEncoder(egnn, graph.features, graph.separation, graph.tokens)


def train_encoder(data: Data, config: TrainingConfig, run: Run) -> MoleculeEncoder:
    """Stage 1; the frozen encoder is the JEPA's target."""
    encoder = new_encoder(data.graph, config)
    coordinates = InternalCoordinates.from_topology(data.topology)
    ground = TorsionDecoder(coordinates, encoder.n_tokens * config.encoder.token_dim, width=0)
    ground.fit_statistics(some_frames(data.train))
    jepa = stages.build_jepa(encoder, ground, config)
    trained: Any = run.stage(stages.jepa_stage(jepa, data.train, config))
    seen = stages.collapse_diagnostics(trained, some_frames(data.train, 512))
    append_rows(run.log, "jepa", config.jepa.steps, seen)
    frozen: MoleculeEncoder = trained.target.requires_grad_(False).eval()
    return frozen


def some_frames(trajectories: list[NDArray[np.float32]], frames: int = _STATISTICS_FRAMES) -> torch.Tensor:
    """About so many evenly spaced frames over all trajectories, [frames, atoms, 3] nm."""
    every = max(1, sum(map(len, trajectories)) // frames)
    return torch.from_numpy(np.concatenate([t[::every] for t in trajectories]))


def split_axes(
    encoder: MoleculeEncoder, data: Data, config: TrainingConfig, run: Run
) -> tuple[LatentBasis, NDArray[np.float64], list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Encode everything once, fit the basis, and return the axes of the training and of the held-out frames."""
    cache = run.folder / "latents.npz"
    everything = data.train + data.validation
    if run.resume and cache.exists():
        with np.load(cache) as stored:
            latents = [stored[f"z{i}"] for i in range(len(everything))]
    else:
        start = time.perf_counter()
        latents = stages.encode_all(encoder, everything)
        run.record("encode", time.perf_counter() - start)
        arrays: dict[str, Any] = {f"z{i}": z for i, z in enumerate(latents)}
        unfinished = cache.with_suffix(".tmp.npz")
        np.savez(unfinished, **arrays)
        unfinished.replace(cache)
    lag = max(1, round(config.latent.lag / config.stride))
    anchors = soft_torsions(data, config.latent.soft_torsion) if config.latent.soft_torsion < 180 else []
    basis, correlation = fit_basis(
        latents[: len(data.train)], lag, config.latent.threshold, config.latent.slow_axes, anchors
    )
    axes = stages.project(basis, latents)
    return basis, correlation, axes[: len(data.train)], axes[len(data.train) :]


def soft_torsions(data: Data, spread: float) -> list[NDArray[np.float32]]:
    """Cosines and sines of the rotatable torsions whose circular deviation exceeds `spread` degrees.

    Rotors of equivalent hydrogens are left out. Returns one array [frames, 2 · torsions] per training trajectory.
    """
    coordinates = InternalCoordinates.from_topology(data.topology)
    index = coordinates.driver_index[coordinates.driver_kind == 0]
    angles = [coordinates.to_internal(torch.from_numpy(x))[2][:, index] for x in data.train]
    everything = torch.cat(angles)
    length = torch.hypot(everything.cos().mean(0), everything.sin().mean(0)).clamp(1e-6, 1.0)
    soft = torch.rad2deg(torch.sqrt(-2 * torch.log(length))) > spread
    return [torch.cat([a[:, soft].cos(), a[:, soft].sin()], dim=1).numpy() for a in angles] if soft.any() else []


def train_decoder(
    data: Data,
    w: torch.Tensor,
    positions: torch.Tensor,
    held_axes: list[NDArray[np.float32]],
    config: TrainingConfig,
    run: Run,
) -> TorsionDecoder:
    """Stage 2a, with the residual spread measured on held-out frames (on training frames where none are held out)."""
    decoder = TorsionDecoder(InternalCoordinates.from_topology(data.topology), w.shape[1], config.decoder.width)
    decoder.fit_statistics(some_frames(data.train))
    trained: Any = run.stage(stages.decoder_stage(decoder, w, positions, config))
    held = torch.from_numpy(np.concatenate(held_axes)) if held_axes else w
    held_positions = torch.from_numpy(np.concatenate(data.validation)) if data.validation else positions
    rows = slice(None, None, max(1, len(held) // _STATISTICS_FRAMES))
    trained.fit_residual(held[rows], held_positions[rows])
    result: TorsionDecoder = trained
    return result


def train_energies(
    encoder: MoleculeEncoder,
    topology: Any,
    positions: torch.Tensor,
    w: torch.Tensor,
    labels: Labels,
    config: TrainingConfig,
    run: Run,
) -> tuple[EnergyHead, LatentEnergyHead]:
    """Both energy heads; the one with forces starts from a copy of the encoder."""
    frames, energies = positions[labels.rows], labels.energies
    start = time.perf_counter()
    prior = MechanicsPrior(topology)
    some = torch.linspace(0, len(frames) - 1, min(_PRIOR_FRAMES, len(frames))).long()
    prior.fit(frames[some], energies[some], labels.forces[some])
    run.record("energy prior", time.perf_counter() - start)
    rest = energies - prior(frames)
    trainable = copy.deepcopy(encoder).requires_grad_(True)
    head = EnergyHead(trainable, prior, float(rest.mean()), float(rest.std().clamp_min(1e-3)))
    trained: Any = run.stage(stages.energy_stage(head, frames, energies, labels.forces, config))
    latent = LatentEnergyHead(w.shape[1], float(energies.mean()), float(energies.std().clamp_min(1e-3)))
    trained_latent: Any = run.stage(stages.latent_energy_stage(latent, w[labels.rows], energies, config))
    return trained, trained_latent
