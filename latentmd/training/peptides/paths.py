"""Training of the path model of many peptides, on torsions of a set of their trajectories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from latentmd.arrays import Floats
from latentmd.io.trajectory import TrajectoryReader
from latentmd.model.binding import bound_peptide
from latentmd.model.paths import residue_features, residue_kinds
from latentmd.model.peptide_file import PeptideFile, load_peptides
from latentmd.training.paths import GivenInputs, PathTraining, fit_paths
from latentmd.training.peptides.dataset import DatasetError, MoleculeFiles, find_molecules, read_pdb, split_molecules
from latentmd.training.run import TrainingRun, training_folder

DEFAULTS = PathTraining(
    longest_lag=10.0, steps=16_000, batch=24, learning_rate=1.2e-3, width=96, depth=4, lengths=(16, 31), candidates=1
)
_BLOCK = 1000  # frames read at once


def train_peptide_paths(
    dataset: Path, model: str | Path, out: Path, settings: PathTraining = DEFAULTS, *, interval: float | None = None,
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
    run, names = TrainingRun.of(training_folder(out), report, device=device, resume=resume), tuple(sorted(kinds))
    return fit_paths(out, latents, intervals, settings, told, model=file.sha256, run=run, kinds=names)


def _waves(item: MoleculeFiles, file: PeptideFile) -> tuple[list[Floats], GivenInputs, list[str], float]:
    """Cosines and sines of one molecule's runs, the inputs that describe it, its residues, and ps between frames."""
    pdb = read_pdb(item.topology)
    bound, _, _ = bound_peptide(pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value), file)
    runs, spacing = [], 0.0
    for path in item.trajectories:
        reader = TrajectoryReader(path, str(item.topology), interval=item.interval, block=_BLOCK)
        with torch.no_grad():
            angles = [bound.angles(torch.from_numpy(block.positions).float()) for block in reader]
            tokens = [bound.joined(a[..., :0], a) for a in angles]
        runs.append(torch.cat(tokens).numpy())
        spacing = float(reader.interval)
    types, mask = bound.types[0], bound.mask[0]
    told = GivenInputs(residue_features(types, mask), mask.float().repeat(1, 2))
    return runs, told, residue_kinds(types), spacing
