"""Training of a model of many peptides on a data set of their trajectories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from latentmd.decoders.residues import ResidueStatistics
from latentmd.io.atomic import write_json
from latentmd.model.peptides import PeptideConfig, PeptideModel
from latentmd.training.peptides.checkpoints import Checkpoint
from latentmd.training.peptides.data import Peptides, Sampler, read
from latentmd.training.peptides.dataset import (
    DatasetError,
    MoleculeFiles,
    dataset_protocol,
    find_molecules,
    read_molecules,
    split_molecules,
)
from latentmd.training.peptides.output import write_model
from latentmd.training.peptides.schedule import Schedule
from latentmd.training.peptides.stages import fit_type_basis, train_latent, train_step
from latentmd.training.peptides.validation import residue_table, score_table, validate
from latentmd.training.run import claim_training

STATE = "state.pt"  # of the stage under way, in the folder of the training
_ENDLESS = 10**9  # steps; wall time ends a stage
_LATENT_SHARE = 0.2  # of the wall time
_LAG = 100.0  # ps, of the basis and of the rollouts that are scored
_SHORTEST = 10.0  # ps


@dataclass(frozen=True)
class PeptideSettings:
    """Settings of a training.

    Attributes:
        minutes: wall time of all stages together, reading and validation aside.
        validation: share of the molecules that is held out, where the data set does not say which.
        molecules: in a batch, of one length; rows: pairs of frames of each.
        basis_batches: of the fit of the basis.
        longest: longest lag, ps.
        rate: highest learning rate of the step.
        dropout: of the step.
        sizes: of the networks; fields of `PeptideConfig`.
        rollouts: of each held-out peptide; steps of each.
        seed: of all random numbers.
    """

    minutes: float = 60.0
    validation: float = 0.1
    molecules: int = 32
    rows: int = 16
    basis_batches: int = 100
    longest: float = 500.0
    rate: float = 1e-3
    dropout: float = 0.1
    sizes: dict[str, int] = field(default_factory=dict)
    rollouts: tuple[int, int] = (200, 50)
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """Result of a training.

    Attributes:
        path: of the model.
        scores: of held-out peptides, by number of tokens, then by what is compared (`validate`).
    """

    path: Path
    scores: dict[str, dict[str, dict[str, float]]]

    def table(self) -> str:
        """The scores beside the residue table and halves of MD; a sentence where nothing was held out."""
        return score_table(self.scores) if self.scores else "no molecule was held out: nothing is scored"


def train_peptides(
    dataset: str | Path,
    out: str | Path,
    settings: PeptideSettings | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
    report: Callable[[str], None] = print,
) -> Trained:
    """Train a model of many peptides, and score it on held-out ones beside the residue table.

    Stages: latent (joint-embedding prediction over molecules and lags), basis, step (maximum likelihood of torsions a
    lag later). State, log and scores go to `<stem>-training/` beside the model.

    Args:
        dataset: folder; see `find_molecules`.
        out: model file to write.
        settings: defaults where None.
        resume: go on from the state of an interrupted training with the same settings and data.
        device: "auto", "cpu" or "cuda".
        report: receives a line now and then.

    Raises:
        DatasetError: the data set cannot be read.
        OutputError: another training is in the folder, or was begun with other settings.
    """
    s, out = settings or PeptideSettings(), Path(out)
    files = find_molecules(Path(dataset))
    training, held = split_molecules(files, s.validation, s.seed)
    if not training:
        raise DatasetError(f"{dataset} holds no molecule to train on: all are for validation or test")
    protocol = dataset_protocol([*training, *held])
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    plan = {"settings": asdict(s), "training": _names(training), "validation": _names(held)}
    folder = out.with_name(out.stem + "-training")
    with claim_training(folder, plan, resume):
        run = _Run(s, folder, torch.device(chosen), report)
        torch.manual_seed(s.seed)
        statistics = ResidueStatistics()
        peptides = read(read_molecules(training), run.device, statistics)
        unseen = read(read_molecules(held), run.device)
        report(f"{peptides.count} peptides, {peptides.n_frames} frames; held out {unseen.count}, {unseen.n_frames}")
        table = residue_table(peptides)
        model = run.stages(peptides, statistics)
        write_model(
            out, model, table, list(peptides.chains.values()), protocol=protocol, frame_interval=peptides.interval,
            name=out.stem, held_out=[chain.sequence for chain in unseen.chains.values()],
            training={"settings": asdict(s), "peptides": peptides.count, "frames": peptides.n_frames},
        )  # fmt: skip
        scores: dict[str, Any] = {}
        if unseen.count:
            rows, steps = s.rollouts
            where = next(model.parameters()).device
            scores = validate(model, table, peptides=unseen.to(where), rows=rows, lags=(_LAG,), steps=steps)
            write_json(folder / "training.json", scores, indent=1)
    return Trained(out, scores)


def _names(molecules: list[MoleculeFiles]) -> list[str]:
    return [item.name for item in molecules]


@dataclass(frozen=True)
class _Run:
    """What the stages share."""

    settings: PeptideSettings
    folder: Path
    device: torch.device
    report: Callable[[str], None]

    def log(self, text: str) -> None:
        """Append a line to the log, and report it."""
        with (self.folder / "training.log").open("a", encoding="utf-8") as file:
            file.write(text + "\n")
        self.report(text)

    def stages(self, peptides: Peptides, statistics: ResidueStatistics) -> PeptideModel:
        """The trained model; a stage that an earlier session finished is left out."""
        s, peptides = self.settings, peptides.to(self.device)
        longest = min(s.longest, float(max(g.frames.max() for g in peptides.groups.values()) - 1) * peptides.interval)
        sampler = Sampler(peptides, longest, torch.Generator(device=self.device).manual_seed(s.seed))
        model = PeptideModel(PeptideConfig(**s.sizes, lags=(_SHORTEST, longest), dropout=s.dropout))
        model.table = statistics.table()
        model.to(self.device)
        checkpoint, shape = Checkpoint(self.folder / STATE), (s.molecules, s.rows)
        self.log(f"{sum(p.numel() for p in model.parameters())} parameters, {len(model.table)} kinds of residues")
        if checkpoint.stage() != "step":
            schedule = Schedule(60 * s.minutes * _LATENT_SHARE, _ENDLESS)
            train_latent(model, sampler, schedule, shape, self.log, checkpoint=checkpoint)
            fit_type_basis(model, sampler, _LAG, batches=s.basis_batches, shape=(max(1, s.molecules // 4), 64))
        model.step.train()
        schedule = Schedule(60 * s.minutes * (1 - _LATENT_SHARE), _ENDLESS)
        train_step(model, sampler, schedule, shape, self.log, checkpoint=checkpoint, peak=s.rate)
        return model.eval()
