"""Training of a model of many peptides on a data set of their trajectories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from latentmd.analysis.metric import Document
from latentmd.decoders.residues import ResidueStatistics
from latentmd.evaluation.residue_table import ResidueTable
from latentmd.io.atomic import write_json
from latentmd.io.progress import Progress, quiet
from latentmd.model.bound_peptide import BoundPeptide
from latentmd.model.peptide_file import PeptideManifest, save_peptides
from latentmd.model.peptides import PeptideConfig, PeptideModel
from latentmd.model.zero_shot import mean_tokens
from latentmd.molecule.chain import CAPS
from latentmd.molecule.coverage import PeptideChemistry
from latentmd.systems.names import STATES
from latentmd.systems.protocol import Protocol
from latentmd.training.peptides.data import Peptides, Sampler, read
from latentmd.training.peptides.dataset import (
    CONDITIONS,
    DatasetError,
    dataset_protocol,
    find_molecules,
    read_molecule,
    split_molecules,
)
from latentmd.training.peptides.stages import fit_type_basis, latent_stage, step_stage
from latentmd.training.peptides.validation import residue_table, score_table, validate
from latentmd.training.run import TrainingRun, claim_training, training_folder

_LONGEST = 8  # residues; the relative positions of attention are told apart up to here


def coverage_of(table: Iterable[str], protocol: Protocol) -> PeptideChemistry:
    """What a model covers: the residues in their places of its table of local geometry, under one protocol."""
    keys = frozenset(table)
    types = {key.split()[0] for key in keys}
    places = {(key.split()[0], key.split()[1].rstrip(":")) for key in keys}
    ends = {name for name, _ in places if name in CAPS}
    if any(name not in CAPS and place in ("first", "last", "only") for name, place in places):
        ends.add("")
    return PeptideChemistry(
        residues=frozenset(STATES.get(name, name) for name in types if name not in CAPS),
        ends=frozenset(ends),
        lengths=(1, _LONGEST),
        temperature=(protocol.temperature, protocol.temperature),
        force_field=protocol.force_field_files,
        templates=keys,
    )


def write_model(
    path: Path, model: PeptideModel, table: ResidueTable, peptides: Peptides, *, protocol: Protocol,
    held_out: Iterable[str] = (), training: Document | None = None,
) -> PeptideManifest:  # fmt: skip
    """Write a model with its coverage, its residue table and the mean latent tokens of its training peptides."""
    model, chains = model.cpu().eval(), peptides.chains.values()
    tokens = [mean_tokens(BoundPeptide(model, chain).eval()) for chain in chains]
    statistics = {
        "table_counts": torch.from_numpy(table.torsions).int(),
        "planes": torch.from_numpy(table.planes).int(),
        "tokens": torch.cat(tokens).half(),
        "kinds": torch.cat([torch.from_numpy(chain.types[:, 0]) for chain in chains]).to(torch.uint8),
    }
    manifest = PeptideManifest(
        name=path.stem,
        coverage=coverage_of(model.table, protocol),
        lag=model.config.lags,
        frame_interval=peptides.interval,
        **{name: getattr(protocol, name) for name in CONDITIONS},
        force_field=list(protocol.force_field_files),
        sequences=sorted({chain.sequence for chain in chains}),
        held_out=sorted(set(held_out)),
        training=training or {},
    )
    return save_peptides(path, model, manifest, statistics)


_LATENT_SHARE = 0.2  # of the wall time
_LAG = 100.0  # ps, of the basis and of the rollouts that are scored
_SHORTEST = 10.0  # ps


@dataclass(frozen=True)
class PeptideSettings:
    """Settings of a training."""

    minutes: float = 60.0  #: wall time of all stages together, reading and validation aside
    validation: float = 0.1  #: share of the molecules that is held out, where the data set does not say which
    molecules: int = 32  #: in a batch, of one length; rows: pairs of frames of each
    rows: int = 16
    basis_batches: int = 100
    longest: float = 500.0  #: longest lag, ps
    rate: float = 1e-3  #: highest learning rate of the step
    dropout: float = 0.1
    sizes: dict[str, int] = field(default_factory=dict)  #: of the networks; fields of `PeptideConfig`
    rollouts: tuple[int, int] = (200, 50)  #: of each held-out peptide; steps of each
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """The model file, and scores of held-out peptides, by number of tokens, then by what is compared (`validate`)."""

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
    interval: float | None = None,
    resume: bool = False,
    device: str = "auto",
    report: Progress = quiet,
) -> Trained:
    """Train a model of many peptides, and score it on held-out ones beside the residue table.

    Stages: latent (joint-embedding prediction over molecules and lags), basis, step (maximum likelihood of torsions a
    lag later). Checkpoints, log and scores go to `<stem>-training/` beside the model.

    Args:
        dataset: folder; see `find_molecules`.
        out: model file to write.
        settings: defaults where None.
        interval: ps between frames, for files without times.
        resume: go on from the state of an interrupted training with the same settings and data.
        device: "auto", "cpu" or "cuda".
        report: called with (stage, done, total, losses); seconds of a stage.

    Raises:
        DatasetError: the data set cannot be read.
        OutputError: another training is in the folder, or was begun with other settings.
    """
    s, out = settings or PeptideSettings(), Path(out)
    training, held = split_molecules(find_molecules(Path(dataset), interval), s.validation, s.seed)
    if not training:
        raise DatasetError(f"{dataset} holds no molecule to train on: all are for validation or test")
    protocol = dataset_protocol([*training, *held])
    names, held_names = ([item.name for item in items] for items in (training, held))
    plan = {"settings": asdict(s), "training": names, "validation": held_names, "interval": interval}
    folder = training_folder(out)
    with claim_training(folder, plan, resume):
        run = TrainingRun.of(folder, report, device=device, resume=resume)
        torch.manual_seed(s.seed)
        statistics, there = ResidueStatistics(), run.torch_device
        peptides, unseen = read(map(read_molecule, training), there, statistics), read(map(read_molecule, held), there)
        report(f"{peptides}; held out {unseen}", 1, 1, {})
        table = residue_table(peptides)
        longest = min(s.longest, float(max(g.frames.max() for g in peptides.groups.values()) - 1) * peptides.interval)
        model = PeptideModel(PeptideConfig(**s.sizes, lags=(_SHORTEST, longest), dropout=s.dropout))
        model.table = statistics.table()
        model = train_stages(model, Sampler(peptides, longest), s, run)
        sequences = [chain.sequence for chain in unseen.chains.values()]
        seen = {"settings": asdict(s), "peptides": peptides.count, "frames": peptides.n_frames}
        write_model(out, model, table, peptides, protocol=protocol, held_out=sequences, training=seen)
        scores: dict[str, dict[str, dict[str, float]]] = {}
        if unseen.count:
            rows, steps = s.rollouts
            scores = validate(model.to(there), table, unseen, rows, lags=(_LAG,), steps=steps)
            write_json(folder / "training.json", scores, indent=1)
    return Trained(out, scores)


def train_stages(
    model: PeptideModel, sampler: Sampler, s: PeptideSettings, run: TrainingRun, prefix: str = ""
) -> PeptideModel:
    """The trained model; a stage that an interrupted training finished is loaded."""
    shape, seconds = (s.molecules, s.rows), 60 * s.minutes
    latent = seconds * _LATENT_SHARE
    run.stage(latent_stage(model, sampler, shape, seconds=latent, seed=s.seed, name=f"{prefix}latent"))
    fit_type_basis(model, sampler, _LAG, batches=s.basis_batches, shape=(max(1, s.molecules // 4), 64), seed=s.seed)
    step = step_stage(model, sampler, shape, seconds=seconds - latent, seed=s.seed, peak=s.rate, name=f"{prefix}step")
    trained = run.stage(step)
    assert isinstance(trained, PeptideModel)
    return trained
