"""Train a surrogate from trajectories: load, run the stages in order, write the bundle, the log and the plot."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from latentmd.io.progress import Progress, quiet
from latentmd.model.manifest import Landmarks
from latentmd.model.surrogate import Surrogate
from latentmd.molecule.chemistry import fingerprint
from latentmd.training.assembly import build_surrogate, forecast
from latentmd.training.conditions import training_reference, with_conditions, with_own_force_field
from latentmd.training.config import TrainingConfig
from latentmd.training.data import Data, Source, Trajectories, read_source, split_data
from latentmd.training.labels import Labels, energy_labels
from latentmd.training.run import TrainingRun, claim_training, plot_training, training_folder
from latentmd.training.seen import Seen, seen
from latentmd.training.suited import suited
from latentmd.units import format_time

logger = logging.getLogger(__name__)


def train(
    trajectories: Sequence[str | Path] | Trajectories,
    top: str | Path,
    out: str | Path,
    config: TrainingConfig | None = None,
    *,
    name: str = "",
    interval: float | None = None,
    select: str = "",
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
            Water and ions in files are left out; a solute in them, and one whose force field neither the record of a
            run nor `config` states, is learnt without energies.
        top: PDB file of the molecule, or any file with the topology of what the trajectories hold.
        out: path of the bundle.
        config: training configuration; defaults that suit the data otherwise.
        name: name of the model in its manifest.
        interval: ps between frames, for files without times.
        select: the solute in the language of mdtraj, such as "protein and chainid 0"; the only molecule beside water
            and ions where empty.
        device, precision, devices: as Lightning takes them ("auto", "cpu", "cuda"; "32-true", "bf16-mixed"; number).
        report: called with (stage, step, steps, losses) as training goes on.
        resume: whether to go on from the last checkpoint.

    Returns:
        The path of the bundle.
    """
    from latentmd.model import file as bundle

    out = Path(out)
    folder, report = training_folder(out), report or quiet
    run = TrainingRun(
        folder, folder / "training.csv", report, device=device, precision=precision, devices=devices, resume=resume
    )
    config = with_own_force_field(config or TrainingConfig(), Path(top))
    source = read_source(trajectories, top, interval, select)
    if not isinstance(trajectories, Trajectories):
        config = suited(with_conditions(config, trajectories, source.water), source)
    shown = say(config, source)
    data = split_data(source, config)
    settings = config.model_dump(mode="json")
    plan: dict[str, Any] = {"settings": settings, "trajectories": data.names, "interval": interval}
    if isinstance(trajectories, Trajectories):
        plan["positions"] = trajectories.digest()
    with claim_training(folder, plan, resume):
        run.say_forecast(forecast(data, config, run))
        torch.manual_seed(config.seed)
        labels = energy_labels(data, top, config, run) if config.has_energy else None
        made = build_surrogate(data, labels, config, run)
        surrogate, parts = made[0], Made(data, shown, labels, *made)
        manifest = _manifest(name or out.stem, parts, config, run)
        bundle.save(out, surrogate, manifest)
        plot_training(run.log, folder / "training.png")
    return out


def say(config: TrainingConfig, source: Source) -> Seen | None:
    """Say what the model will be of (solute, data, lags, whether it has energies) and what the data can teach it."""
    topology, total = source.topology, sum(map(len, source.runs)) * source.interval
    around = f", without {source.left_out}" if source.left_out else ""
    solute = f"solute of {topology.n_atoms} atoms and {topology.n_residues} residues{around}"
    data = f"{len(source.runs)} runs, {format_time(total)}, at {config.temperature:g} K"
    logger.warning("%s; %s; lags of %s to %s", solute, data, *map(format_time, config.predictor.lag))
    if not config.has_energy:
        logger.warning(
            "no force field of the solute alone is known, so that the model will have no energies; state `solvent` and"
            " `force_field` in the file for --config where the trajectories are of implicit solvent"
        )
    shown = seen(
        source.runs, source.topology, source.interval, lag=config.predictor.lag[0], temperature=config.temperature
    )
    for sentence in shown.sentences() if shown else ():
        logger.warning("%s", sentence)
    return shown


class Made(NamedTuple):
    """What a training started from and made."""

    data: Data
    seen: Seen | None
    labels: Labels | None
    surrogate: Surrogate
    autocorrelations: NDArray[np.float64]
    landmarks: Landmarks


def _manifest(name: str, parts: Made, config: TrainingConfig, run: TrainingRun) -> dict[str, Any]:
    data, shown, labels, surrogate, autocorrelations, marks = parts
    return {
        "name": name,
        "topology": data.pdb,
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
        "reference": training_reference(
            data.train + data.validation, data.topology, None if labels is None else labels.energies.double().numpy()
        ),
        "training": {
            "config": config.model_dump(mode="json"),
            "seconds": run.seconds,
            "seen": shown and shown.record(),
            "landmarks": marks.model_dump(),
        },
    }


def _default_force_field(config: TrainingConfig) -> list[str]:
    from latentmd.systems.builder import DEFAULT_FORCE_FIELDS

    return [name for solvent, names in DEFAULT_FORCE_FIELDS.items() if solvent == config.solvent for name in names] * (
        config.has_energy
    )
