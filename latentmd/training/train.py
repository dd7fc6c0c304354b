"""Train a surrogate from trajectories: load, run the stages in order, write the bundle, the log and the plot."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import NDArray
from openmm import app

from latentmd.analysis.features import residue_labels
from latentmd.io.atomic import write_bytes
from latentmd.io.progress import Progress, quiet
from latentmd.model import file as bundle
from latentmd.model.surrogate import Surrogate
from latentmd.molecule.chemistry import fingerprint, residue_tokens
from latentmd.replicas.bonded import Bonded
from latentmd.systems.builder import DEFAULT_FORCE_FIELDS
from latentmd.training.conditions import suited, with_conditions, with_own_force_field
from latentmd.training.config import TrainingConfig
from latentmd.training.data import Data, Trajectories, read_source, split_data
from latentmd.training.labels import engine_molecule
from latentmd.training.run import TrainingRun, claim_training, plot_training, training_folder
from latentmd.training.seen import say
from latentmd.training.stages import SurrogateTraining, some_frames

_BONDED_FRAMES = 1000  # that bonds, angles and contacts are fitted to


def train(
    trajectories: Sequence[str | Path] | Trajectories,
    top: str | Path,
    out: str | Path,
    config: TrainingConfig | None = None,
    *,
    name: str = "",
    interval: float | None = None,
    select: str = "",
    system: str | None = None,
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
        system: OpenMM System (XML) of the solute, for energies; a prmtop as `top` does, where the solvent is stated.
        device, precision, devices: as Lightning takes them ("auto", "cpu", "cuda"; "32-true", "bf16-mixed"; number).
        report: called with (stage, step, steps, losses) as training goes on.
        resume: whether to go on from the last checkpoint.

    Returns:
        The path of the bundle.
    """
    out = Path(out)
    folder, report = training_folder(out), report or quiet
    run = TrainingRun(
        folder, folder / "training.csv", report, device=device, precision=precision, devices=devices, resume=resume
    )
    config = with_own_force_field(config or TrainingConfig(), Path(top), system)
    source = read_source(trajectories, top, interval, select)
    if not isinstance(trajectories, Trajectories):
        config = suited(with_conditions(config, trajectories, source.water), source)
    molecule = engine_molecule(config, Path(top), system, source.pdb) if config.has_energy else None
    if molecule and molecule.own_force_field:  # made for the masses and constraints of the settings
        config = config.model_copy(update={"force_field": molecule.protocol.force_field})
    shown = say(config, source)
    data = split_data(source, config)
    settings = config.model_dump(mode="json")
    plan: dict[str, Any] = {"settings": settings, "trajectories": data.names, "interval": interval}
    if isinstance(trajectories, Trajectories):
        plan["positions"] = trajectories.digest()
    with claim_training(folder, plan, resume):
        training = SurrogateTraining(data, config, run, molecule)
        run.say_forecast(training.forecast())
        surrogate, autocorrelations, marks = training.surrogate()
        manifest = _manifest(name or out.stem, training, surrogate, autocorrelations)
        manifest["training"] |= {"seen": shown and shown.record(), "landmarks": marks.model_dump()}
        bundle.save(out, surrogate, manifest)
        write_bytes(folder / "training.png", plot_training(run.log))
    return out


_BINS = 50  # of a Ramachandran plane along each axis


def _manifest(
    name: str, training: SurrogateTraining, surrogate: Surrogate, autocorrelations: NDArray[np.float64]
) -> dict[str, Any]:
    data, config, labels = training.data, training.config, training.labels
    stated = ("temperature", "friction", "timestep", "hydrogen_mass", "solvent", "seed")
    return {
        "name": name,
        "topology": data.pdb,
        "fingerprint": fingerprint(data.topology),
        "tokens": list(residue_tokens(data.topology)),
        "lag": config.predictor.lag,
        "frame_interval": config.stride,
        **{name: getattr(config, name) for name in stated},
        "force_field": list(config.force_field or (DEFAULT_FORCE_FIELDS[config.solvent] if config.has_energy else ())),
        "split": data.names,
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
            "seconds": training.run.seconds,
            "bonded": None if config.has_energy else _bonded(data, config),
        },
    }


def _bonded(data: Data, config: TrainingConfig) -> dict[str, object]:
    frames = some_frames(data.train, _BONDED_FRAMES).numpy()
    written = app.PDBFile(io.StringIO(data.pdb)).topology  # in whose order of bonds the model file is read
    return asdict(Bonded.of(written, frames, config.temperature))


def training_reference(
    trajectories: list[NDArray[np.float32]], topology: Any, energies: NDArray[np.float64] | None
) -> dict[str, Any]:
    """Ramachandran counts of each residue with φ and ψ (50 × 50 bins over ±180°) and quantiles of the energy."""
    counts: dict[str, NDArray[np.int64]] = {}
    labels = residue_labels(topology)
    for positions in trajectories:
        frames = mdtraj.Trajectory(positions, topology)
        phi_atoms, phi = mdtraj.compute_phi(frames, periodic=False)
        psi_atoms, psi = mdtraj.compute_psi(frames, periodic=False)
        psi_of = {topology.atom(atoms[1]).residue.index: column for column, atoms in enumerate(psi_atoms)}
        for column, atoms in enumerate(phi_atoms):
            residue = topology.atom(atoms[1]).residue
            if residue.index not in psi_of:
                continue
            x, y = np.rad2deg(phi[:, column]), np.rad2deg(psi[:, psi_of[residue.index]])
            histogram, _, _ = np.histogram2d(x, y, bins=_BINS, range=[[-180.0, 180.0], [-180.0, 180.0]])
            name = labels[residue.index]
            counts[name] = counts.get(name, np.zeros((_BINS, _BINS), dtype=np.int64)) + histogram.astype(np.int64)
    return {
        "ramachandran": [{"residue": name, "counts": table.tolist()} for name, table in counts.items()],
        "energy_quantiles": None if energies is None else tuple(np.quantile(energies, [0.001, 0.5, 0.999]).tolist()),
        "frames": int(sum(map(len, trajectories))),
    }
