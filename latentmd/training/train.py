"""Train a surrogate from trajectories: load, run the stages in order, write the bundle, the log and the plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentmd.io.progress import Progress
from latentmd.model.surrogate import Surrogate
from latentmd.molecule.fingerprint import fingerprint
from latentmd.training.assembly import build_surrogate
from latentmd.training.conditions import check_conditions, training_reference, with_own_force_field
from latentmd.training.config import TrainingConfig
from latentmd.training.data import Data, Trajectories, load_data
from latentmd.training.labels import Labels, energy_labels
from latentmd.training.run import TrainingRun, claim_training, plot_training, training_folder


def train(
    trajectories: Sequence[str | Path] | Trajectories,
    top: str | Path,
    out: str | Path,
    config: TrainingConfig | None = None,
    *,
    name: str = "",
    interval: float | None = None,
    resume: bool = False,
    device: str = "auto",
    precision: str = "32-true",
    devices: int | str = 1,
    report: Progress | None = None,
) -> Path:
    """Train a surrogate of one molecule and write it as a bundle.

    Beside the bundle it writes `<stem>-training/` with checkpoints, cached latents, `training.csv` and
    `training.png`. With `resume`, finished stages are loaded and the interrupted one goes on from its checkpoint.

    Args:
        trajectories: files that mdtraj reads, or arrays (`Trajectories`), of one molecule, equally spaced in time.
        top: PDB file of the molecule.
        out: path of the bundle.
        config: training configuration; defaults otherwise.
        name: name of the model in its manifest.
        interval: ps between frames, for files without times.
        device, precision, devices: as Lightning takes them ("auto", "cpu", "cuda"; "32-true", "bf16-mixed"; number).
        report: called with (stage, step, steps, losses) as training goes on.
        resume: whether to go on from the last checkpoint.

    Returns:
        The path of the bundle.
    """
    from latentmd.model import file as bundle

    config = with_own_force_field(config or TrainingConfig(), Path(top))
    if not isinstance(trajectories, Trajectories):
        check_conditions(config, trajectories)
    out = Path(out)
    folder = training_folder(out)
    log = folder / "training.csv"
    run = TrainingRun(
        folder, log, report or (lambda *_: None), device=device, precision=precision, devices=devices, resume=resume
    )
    data = load_data(trajectories, top, config, interval)
    plan: dict[str, Any] = {
        "settings": config.model_dump(mode="json"),
        "trajectories": data.names,
        "interval": interval,
    }
    if isinstance(trajectories, Trajectories):
        plan["positions"] = trajectories.digest()
    with claim_training(folder, plan, resume):
        torch.manual_seed(config.seed)
        labels = energy_labels(data, top, config, run)
        surrogate, autocorrelations = build_surrogate(data, labels, config, run)
        manifest = _manifest(
            name or out.stem,
            data,
            top,
            config=config,
            run=run,
            labels=labels,
            surrogate=surrogate,
            autocorrelations=autocorrelations,
        )
        bundle.save(out, surrogate, manifest)
        plot_training(log, folder / "training.png")
    return out


def _manifest(
    name: str,
    data: Data,
    top: str | Path,
    config: TrainingConfig,
    run: TrainingRun,
    labels: Labels,
    surrogate: Surrogate,
    autocorrelations: NDArray[np.float64],
) -> dict[str, Any]:
    return {
        "name": name,
        "topology": Path(top).read_text(encoding="utf-8"),
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


def _default_force_field(config: TrainingConfig) -> list[str]:
    from latentmd.systems.builder import DEFAULT_FORCE_FIELDS

    return list(DEFAULT_FORCE_FIELDS[config.solvent])
