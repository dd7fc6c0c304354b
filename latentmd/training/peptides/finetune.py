"""Fine-tuning of a model of many peptides on trajectories of one, beside what it was and a model from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from openmm.app import PDBFile

from latentmd.decoders.residues import ResidueStatistics
from latentmd.evaluation.inputs import trajectory_files
from latentmd.evaluation.residue_table import frame_scores
from latentmd.evaluation.rollouts import Equilibrium
from latentmd.io.progress import Progress, quiet
from latentmd.model.binding import bind
from latentmd.model.peptide_file import NAME, PeptideFile, load_peptides
from latentmd.model.peptides import PeptideModel
from latentmd.molecule.chain import hands
from latentmd.training.peptides.data import Peptides, Sampler, Trajectory, read
from latentmd.training.peptides.dataset import DatasetError, MoleculeFiles, dataset_protocol, read_molecule, read_pdb
from latentmd.training.peptides.run import PeptideSettings, train_stages
from latentmd.training.peptides.stages import step_stage
from latentmd.training.peptides.tilt import fit_tilt
from latentmd.training.peptides.validation import likelihoods, peptide_angles
from latentmd.training.run import TrainingRun, claim_training, training_folder

_ROWS = 256  # pairs of frames in a batch
_RATE = 2e-4  # highest learning rate of fine-tuning; a fifth of that of training
_BASIS_BATCHES = 80  # of the model from scratch
_DRAWS = 2000
_HELD_OUT = 0.2  # of the frames, where there is one run alone


@dataclass(frozen=True)
class FineTuned:
    """Model file of the molecule, and scores "zero-shot", "fine-tuned" and "from scratch". Each has "nats later"
    (negative log-likelihood per torsion a lag later, of held-out frames), "nats ever" (forgetting the start),
    "torsions", "ramachandran" and "neighbours" (JS distances of draws from equilibrium to held-out frames).
    """

    path: Path
    scores: dict[str, dict[str, float]]

    def table(self) -> str:
        """The scores, a row per model."""
        columns = list(next(iter(self.scores.values())))
        lines = [f"{'':14}" + "".join(f"{c:>14}" for c in columns)]
        lines += [f"{name:14}" + "".join(f"{row[c]:14.4f}" for c in columns) for name, row in self.scores.items()]
        return "\n".join(lines)


def finetune(
    trajectories: Sequence[str | Path],
    top: str | Path,
    out: str | Path,
    *,
    start: str | Path = NAME,
    held_out: Sequence[str | Path] = (),
    interval: float | None = None,
    minutes: float = 3.0,
    scratch: bool = True,
    seed: int = 0,
    resume: bool = False,
    report: Progress = quiet,
) -> FineTuned:
    """Fine-tune a model of many peptides on trajectories of one, and write a model of that one.

    The encoder and its basis are kept; the step and the local geometry of the residues are fitted to the molecule, then
    the weights that keep rollouts from drifting (`latentmd.core.steps.tilt`).
    Checkpoints and log go to `<stem>-training/` beside the model.

    Args:
        trajectories: files that mdtraj reads, one per independent run.
        top: PDB file of the molecule with all hydrogens.
        out: model file to write.
        start: model of many peptides, by name or path.
        held_out: independent runs, or folders of them, that all models are scored on; where there are none the last of
            `trajectories` (of a single one its last fifth), which is then not trained on.
        interval: ps between frames, for files without times.
        minutes: of wall time for fine-tuning, and again for the model from scratch.
        scratch: whether a model is trained from scratch on the same frames, to compare.
        seed: of the random numbers.
        resume: go on from the checkpoints of an interrupted fine-tuning.
        report: called with (stage, seconds, of so many, losses).

    Raises:
        DatasetError, ChainError, BundleError: the files do not do, or the model does not cover the molecule.
    """
    file, pdb = load_peptides(start), read_pdb(Path(top))
    training, held = _molecule(pdb, (trajectories, held_out), Path(top), file, interval)
    device, statistics, out = torch.device("cpu"), ResidueStatistics(), Path(out)
    peptides, unseen = read(iter([training]), device, statistics), read(iter([held]), device)
    longest = min(file.model.config.lags[1], (training.frames.shape[1] - 1) * training.interval)
    asked = {"top": str(top), "interval": interval, "minutes": minutes, "scratch": scratch, "seed": seed}
    plan = {"start": file.sha256, "runs": [list(map(str, trajectories)), list(map(str, held_out))], **asked}
    folder = training_folder(out)
    with claim_training(folder, plan, resume):
        run, sampler = TrainingRun.of(folder, report, device="cpu", resume=resume), Sampler(peptides, longest)
        torch.manual_seed(seed)
        scores = {"zero-shot": _scores(file.model, unseen, longest)}
        model = file.model
        model.table = {**model.table, **statistics.table()}
        tuned = run.stage(step_stage(model, sampler, (1, _ROWS), seconds=60 * minutes, seed=seed, peak=_RATE))
        assert isinstance(tuned, PeptideModel)
        scores["fine-tuned"] = _scores(tuned, unseen, longest)
        if scratch:
            other = PeptideModel(tuned.config)
            other.table = tuned.table
            alone = PeptideSettings(minutes, molecules=1, rows=_ROWS, basis_batches=_BASIS_BATCHES, seed=seed)
            scores["from scratch"] = _scores(train_stages(other, sampler, alone, run, "scratch-"), unseen, longest)
        lanes, frames = training.frames.shape[:2]
        made = {"from": file.manifest.name, "frames": lanes * frames, "interval": training.interval}
        positions, whole = pdb.getPositions(asNumpy=True)._value, replace(file, model=tuned)
        bind(pdb.topology, positions, out, whole, fit=fit_tilt, metrics={"fine-tuning": scores}, fine_tuned=made)
    return FineTuned(out, scores)


def _molecule(
    pdb: PDBFile, runs: Sequence[Sequence[str | Path]], top: Path, file: PeptideFile, interval: float | None
) -> tuple[Trajectory, Trajectory]:
    """Trajectories to train on and to score on, of a molecule and under conditions that the model covers."""
    paths = [tuple(trajectory_files(some)) for some in runs if some]
    files = [MoleculeFiles(top.stem, top, some, interval=interval) for some in paths]
    protocol, manifest = dataset_protocol(files), file.manifest
    positions = np.asarray(pdb.getPositions(asNumpy=True)._value)
    answer = manifest.coverage.covers(pdb.topology, protocol.temperature, protocol.force_field_files, positions)
    if not answer:
        raise DatasetError(f"{top}: the model {manifest.name} does not cover it: {answer.reason}")
    if any(hands(pdb.topology, positions)):
        raise DatasetError(f"{top} consists of D residues; fine-tune on its mirror image")
    whole = read_molecule(files[0])
    if len(files) > 1:
        return whole, read_molecule(files[1])
    lanes, frames = whole.frames.shape[:2]
    if lanes > 1:
        return whole._replace(frames=whole.frames[:-1]), whole._replace(frames=whole.frames[-1:])
    cut = round((1 - _HELD_OUT) * frames)
    return whole._replace(frames=whole.frames[:, :cut]), whole._replace(frames=whole.frames[:, cut:])


def _scores(model: PeptideModel, unseen: Peptides, longest: float) -> dict[str, float]:
    group = next(iter(unseen.groups.values()))
    chain = unseen.chains[group.names[0]]
    nats = likelihoods(model, unseen, 4, min(longest, float(group.frames.max() - 1) * unseen.interval))
    found = frame_scores(chain, Equilibrium(model, chain, 0).equilibrium(_DRAWS), peptide_angles(group, 0))
    planes: dict[str, float] = {name: found[name] for name in ("ramachandran", "neighbours") if name in found}
    return {"nats later": nats["later"], "nats ever": nats["ever"], "torsions": found["torsions"], **planes}
