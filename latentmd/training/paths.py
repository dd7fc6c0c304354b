"""Training of path models: on latents of a finished bundle, or on torsions of many peptides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentmd.arrays import Floats
from latentmd.core.paths.masked import MaskedTrajectory, TrajectorySettings
from latentmd.io.solute import read_solute, solute_reader
from latentmd.io.trajectory import TrajectoryReader
from latentmd.model.binding import bound_peptide
from latentmd.model.file import find
from latentmd.model.paths import PathRecord, beside, residue_features, residue_kinds, save_path_model
from latentmd.model.peptide_file import PeptideFile, load_peptides
from latentmd.model.propagator import Propagator
from latentmd.training.loop import Optimisation, Stage, TrainingError
from latentmd.training.peptides.dataset import DatasetError, MoleculeFiles, find_molecules, read_pdb, split_molecules
from latentmd.training.run import TrainingRun, claim_training, training_folder
from latentmd.training.windows import random_masks

_BATCH = 500  # frames encoded or read at once


@dataclass(frozen=True)
class PathTraining:
    """Settings of the training of a path model.

    Attributes:
        longest_lag: longest time between frames, ps.
        steps, batch, learning_rate: of the optimiser.
        width, depth: of the transformer.
        average: decay of the running average of the weights.
        lengths: frames of training windows; whole intervals of ten.
        candidates: windows of which half of a batch takes the one with the largest jump between given frames, so
            that rare transitions are seen. What happens between given frames, given them, is as likely as before,
            since the choice looks at nothing else.
        seed: decides all randomness.
    """

    longest_lag: float = 20.0
    steps: int = 16_000
    batch: int = 48
    learning_rate: float = 2e-3
    width: int = 80
    depth: int = 3
    average: float = 0.999
    lengths: tuple[int, ...] = (16, 31, 46, 61)
    candidates: int = 64
    seed: int = 0


OF_PEPTIDES = PathTraining(
    longest_lag=10.0, steps=16_000, batch=24, learning_rate=1.2e-3, width=96, depth=4, lengths=(16, 31), candidates=1
)


@dataclass(frozen=True)
class GivenInputs:
    """Inputs of a path model of many molecules that come with a trajectory.

    Attributes:
        features: of its tokens, shape (tokens, context).
        axes: 1 for each axis that a token has and 0 for others, shape (tokens, dim).
    """

    features: Tensor
    axes: Tensor


def path_stage(
    model: MaskedTrajectory,
    latents: Sequence[Floats],
    intervals: Sequence[float],
    settings: PathTraining,
    told: Sequence[GivenInputs] = (),
) -> Stage:
    """The stage that trains a masked trajectory model on latents [frames, tokens, dim], intervals in ps.

    Windows never cross trajectories; `told` goes with each, where they are of several molecules. TrainingError: every
    trajectory is shorter than the shortest window.
    """
    series = [torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32)) for z in latents]
    lengths = np.array([len(z) for z in series])
    fitting = [frames for frames in settings.lengths if frames <= lengths.max()]
    if not fitting:
        raise TrainingError(
            f"the longest trajectory has {lengths.max()} frames; a path model needs {min(settings.lengths)} or more"
        )
    tokens = np.array([z.shape[1] for z in series])
    spacing = torch.as_tensor(list(intervals))
    most = [max(1, round(settings.longest_lag / interval)) for interval in intervals]

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        frames = fitting[int(torch.randint(len(fitting), (1,), generator=generator))]
        weight = torch.as_tensor(lengths * (lengths >= frames), dtype=torch.float32)
        alike = torch.from_numpy(tokens == tokens[int(torch.multinomial(weight, 1, generator=generator))])
        runs = torch.multinomial(weight * alike, settings.batch, True, generator=generator).tolist()
        mask = random_masks(settings.batch, frames, series[runs[0]].shape[1], generator)
        counts = [settings.candidates if k % 2 else 1 for k in range(settings.batch)]
        # equilibrium MD looks the same backwards in time, positions alone
        back = bool(torch.rand(1, generator=generator) < 0.5)
        given = mask.all(dim=2).flip(1) if back else mask.all(dim=2)
        x, stride = _windows([series[run] for run in runs], given, [most[run] for run in runs], counts, generator)
        x = x.flip(1) if back else x
        times = (spacing[runs] * stride).unsqueeze(1) * torch.arange(frames)
        there = next(model.parameters()).device
        batch = (x.to(there), mask.to(there), times.to(there, x.dtype), generator)
        if not told:
            return {"loss": model.loss(*batch)}
        context, axes = (
            torch.stack([getattr(told[run], name) for run in runs]).to(there) for name in ("features", "axes")
        )
        return {"loss": model.loss(*batch, context, axes)}

    how = Optimisation(
        steps=settings.steps, learning_rate=settings.learning_rate, seed=settings.seed, average=settings.average
    )
    return Stage("paths", model, losses, how)


def _windows(
    runs: Sequence[Tensor], given: Tensor, most: Sequence[int], counts: Sequence[int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A window of each run, [runs, frames, tokens, dim], and their strides [runs], log-uniform in 1 ... most of it.

    Of so many candidates as `counts` says, the one with the largest jump between frames that are given [runs, frames].
    """
    rows, strides, frames = [], [], given.shape[1]
    for run, known, limit, count in zip(runs, given, most, counts, strict=True):
        longest = min(limit, (len(run) - 1) // (frames - 1))
        stride = min(longest, int(np.exp(float(torch.rand(1, generator=generator)) * np.log(longest + 1))))
        at = known.nonzero()[:, 0] * stride
        room = len(run) - (frames - 1) * stride
        begins = (torch.rand(count if len(at) > 1 else 1, generator=generator) * room).long()
        jumps = run[begins.unsqueeze(1) + at].diff(dim=1).square().sum(dim=(2, 3))  # [begins, given frames - 1]
        begin = int(begins[jumps.amax(dim=1).argmax() if len(begins) > 1 else 0])
        rows.append(run[begin : begin + (frames - 1) * stride + 1 : stride])
        strides.append(stride)
    return torch.stack(rows), torch.tensor(strides)


def encode_files(
    propagator: Propagator,
    trajectories: Sequence[Path],
    top: Path,
    report: Callable[..., None],
    given: float | None = None,
    select: str = "",
) -> tuple[list[Floats], float]:
    """Slow axes [frames, tokens, dim] of trajectory files, and the time between frames in ps, `given` for files without
    times. ValueError: the files have different times between frames.
    """
    latents, interval = [], 0.0
    topology, solute = read_solute(top, trajectories, select)
    for number, path in enumerate(trajectories):
        reader, atoms = solute_reader(path, topology, solute, interval=given, block=_BATCH)
        own, runs = None, []
        for positions in (block.positions[:, atoms] for block in reader):
            own = own or propagator.arranged(solute.topology, positions[0])  # hydrogens may be numbered either way
            runs.append(own.encode(positions).cpu().numpy())
        latents.append(np.concatenate(runs))
        if interval and abs(reader.interval - interval) > 1e-3 * interval:
            raise ValueError(f"{path} has a frame every {reader.interval:g} ps, the others every {interval:g} ps")
        interval = reader.interval
        report("encoding", number + 1, len(trajectories))
    return latents, interval


def train_paths(
    trajectories: Sequence[str | Path],
    top: str | Path,
    model: str | Path,
    *,
    out: str | Path | None = None,
    settings: PathTraining = PathTraining(),
    interval: float | None = None,
    select: str = "",
    resume: bool = False,
    device: str = "auto",
    report: Callable[..., None] = lambda *_: None,
) -> Path:
    """Train the path model of a bundle and write it beside the bundle.

    Args:
        trajectories: files of equilibrium MD under the bundle's conditions, one per run, of one time between frames.
        top: PDB file of the molecule.
        model: bundle, or name of a bundled model.
        out: file to write; `<bundle>.paths.pt` where None.
        settings: of the training.
        interval: ps between frames, for files without times.
        select: the solute in the language of mdtraj; all but water and ions where empty.
        resume: go on from the last checkpoint.
        device: "auto", "cpu" or "cuda".
        report: called with (stage, done, total, values).

    Returns:
        The file written.

    Raises:
        TrainingError: the trajectories are too short, or the loss broke.
        ValueError: they do not fit the model or each other.
    """
    propagator = Propagator(model)
    target = Path(out) if out is not None else beside(find(str(model)))
    files = [Path(t) for t in trajectories]
    latents, interval = encode_files(propagator, files, Path(top), report, interval, select=select)
    run = TrainingRun.of(training_folder(target), report, device=device, resume=resume)
    sha256 = propagator.manifest.weights_sha256
    return fit_paths(target, latents, [interval] * len(latents), settings, model=sha256, run=run)


def fit_paths(
    out: Path, latents: Sequence[Floats], intervals: Sequence[float], settings: PathTraining,
    told: Sequence[GivenInputs] = (), *, model: str, run: TrainingRun, kinds: tuple[str, ...] = (),
) -> Path:  # fmt: skip
    """Train a network on trajectories of tokens (frames, tokens, axes), intervals in ps, and write it.

    It belongs to a model by its SHA-256; `kinds` of residues are those of `told`. TrainingError: the trajectories are
    too short, or the loss broke. OutputError: to resume, the checkpoints are of other settings, trajectories or
    another model.
    """
    lags, tokens, dim = (min(intervals), max(settings.longest_lag, min(intervals))), *latents[0].shape[1:]
    torch.manual_seed(settings.seed)
    sizes = {"context": told[0].features.shape[1]} if told else {}
    sizes |= {"width": settings.width, "depth": settings.depth}
    network = MaskedTrajectory(TrajectorySettings(dim, lags, several_tokens=bool(told) or tokens > 1, **sizes))
    frames = [len(z) for z in latents]
    plan = {"settings": asdict(settings), "model": model, "frames": frames, "intervals": list(intervals)}
    with claim_training(run.folder, plan, run.resume):
        trained = run.stage(path_stage(network, latents, intervals, settings, told))
    assert isinstance(trained, MaskedTrajectory)
    seed, steps = settings.seed, settings.steps
    save_path_model(out, trained, PathRecord(model, lags, lags[0], sum(frames), seed=seed, steps=steps, kinds=kinds))
    return out


def train_peptide_paths(
    dataset: Path, model: str | Path, out: Path, settings: PathTraining = OF_PEPTIDES, *, interval: float | None = None,
    resume: bool = False, device: str = "auto", report: Callable[..., None] = lambda *_: None,
) -> Path:  # fmt: skip
    """Train the path model of a model of many peptides.

    It moves cosines and sines of all torsions, and is told the type, place and hand of each residue. Molecules that the
    set's manifest keeps for tests are not read.

    Args:
        dataset: folder of molecules, as `find_molecules` reads it; molecules may have different times between frames.
        model: of many peptides, whose conditions the trajectories were made under.
        out: file to write.
        settings: of the training.
        interval: ps between frames, for files without times.
        resume: go on from the last checkpoint.
        device: "auto", "cpu" or "cuda".
        report: called with (stage, done, total, values).

    Returns:
        The file written.

    Raises:
        DatasetError: no molecule, or one with more time between frames than the longest lag.
        BundleError: a molecule that the model does not cover.
        TrainingError: the trajectories are too short, or the loss broke.
    """
    file = load_peptides(model)
    molecules, _ = split_molecules(find_molecules(dataset, interval), 0.0, settings.seed)
    latents, told, kinds, intervals = [], [], set(), []
    for number, item in enumerate(molecules):
        waves, found, names, interval = _waves(item, file)
        if interval > settings.longest_lag * (1 + 1e-3):
            raise DatasetError(
                f"{item.name} has a frame every {interval:g} ps; expected {settings.longest_lag:g} ps, "
                "the longest lag of the path model, or less"
            )
        latents += waves
        told += [found] * len(waves)
        intervals += [interval] * len(waves)
        kinds |= set(names)
        report("reading", number + 1, len(molecules))
    run = TrainingRun.of(training_folder(out), report, device=device, resume=resume)
    return fit_paths(out, latents, intervals, settings, told, model=file.sha256, run=run, kinds=tuple(sorted(kinds)))


def _waves(item: MoleculeFiles, file: PeptideFile) -> tuple[list[Floats], GivenInputs, list[str], float]:
    """Cosines and sines of one molecule's runs, the inputs that describe it, its residues, and ps between frames."""
    pdb = read_pdb(item.topology)
    bound, _, _ = bound_peptide(pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value), file)
    runs, spacing = [], 0.0
    for path in item.trajectories:
        reader = TrajectoryReader(path, str(item.topology), interval=item.interval, block=_BATCH)
        with torch.no_grad():
            angles = [bound.angles(torch.from_numpy(block.positions).float()) for block in reader]
            tokens = [bound.joined(a[..., :0], a) for a in angles]
        runs.append(torch.cat(tokens).numpy())
        spacing = float(reader.interval)
    types, mask = bound.types[0], bound.mask[0]
    return runs, GivenInputs(residue_features(types, mask), mask.float().repeat(1, 2)), residue_kinds(types), spacing
