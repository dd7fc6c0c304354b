"""Baselines made of training frames, and the residue table, scored as the generated set is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.analysis import features
from latentmd.analysis.features import EvaluationError, FeatureSet, FeatureSpec
from latentmd.analysis.metric import Metric
from latentmd.analysis.reference import ReferenceModel
from latentmd.arrays import Floats
from latentmd.evaluation import baselines
from latentmd.evaluation.compare import compare
from latentmd.evaluation.inputs import trajectory_files
from latentmd.evaluation.settings import FRAME_BASELINES, EvaluationSettings
from latentmd.evaluation.table_baseline import TABLE, TableBaseline, covers


def chosen_baselines(
    settings: EvaluationSettings, spec: FeatureSpec, topology: Any, positions: Floats, others: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Names of baselines, with "all" and "auto" replaced by those that there is enough known for.

    Args:
        settings: name the baselines.
        spec: torsions or distances of the molecule.
        topology: mdtraj topology.
        positions: one structure, nm, shape (atoms, 3).
        others: further names that "all" stands for.
    """
    if not {"all", "auto"} & {*settings.baselines}:
        return settings.baselines
    table = (TABLE,) if covers(spec, topology, positions) else ()
    if "all" not in settings.baselines:
        return (*(name for name in settings.baselines if name not in ("auto", *table)), *table)
    timed = settings.wall_time is not None and settings.md_speed is not None
    left_out = ("replicate",) if not timed else ()
    return (*(b for b in FRAME_BASELINES if b not in (TABLE, *left_out)), *table, *others)


def frame_baselines(
    model: ReferenceModel, own: FeatureSet, train: Sequence[str | Path], topology: Any, settings: EvaluationSettings
) -> dict[str, list[Metric]]:
    """The requested baselines, each scored as the generated set is.

    Args:
        model: reference that everything is scored against.
        own: generated set, which gives the numbers of walkers and frames.
        train: training trajectories, files or folders.
        topology: mdtraj topology.
        settings: name the baselines.

    Returns:
        Metrics by the name of the baseline.

    Raises:
        EvaluationError: a baseline lacks what it needs, or is unknown.
    """
    if not settings.baselines:
        return {}
    unknown = [b for b in settings.baselines if b not in FRAME_BASELINES]
    if unknown:
        raise EvaluationError(f"no baseline is called {unknown[0]!r}; there are {', '.join(FRAME_BASELINES)}")
    rng = np.random.default_rng(settings.seed)
    lengths = [len(run) for run in own.runs]
    result = {}
    if TABLE in settings.baselines:
        table = TableBaseline.of(model.spec, topology, own.kept[0])
        result[TABLE] = compare(model, table.frames(sum(lengths), rng), brief=True).metrics
    trained = [name for name in settings.baselines if name != TABLE]
    if trained:
        runs = _training_runs(model, train, topology, settings)
    for name in trained:
        made = _frame_baseline(name, model, runs, lengths=lengths, settings=settings, rng=rng)
        result[name] = compare(model, made, brief=True).metrics
    return result


def _training_runs(
    model: ReferenceModel, train: Sequence[str | Path], topology: Any, settings: EvaluationSettings
) -> list[Floats]:
    if not train:
        name = next(name for name in settings.baselines if name != TABLE)
        raise EvaluationError(f"baseline {name} needs training trajectories; pass them with --train")
    data = features.read_set(trajectory_files(train), topology, model.spec, None, settings.interval)
    stride = round(model.interval / data.interval)
    if stride < 1 or abs(stride * data.interval - model.interval) > 1e-3 * model.interval:
        raise EvaluationError(
            f"training frames are {data.interval:g} ps apart; expected {model.interval:g} ps or a whole part of it"
        )
    return [run[::stride] for run in data.runs]


def _frame_baseline(
    name: str, model: ReferenceModel, runs: list[Floats], lengths: list[int], settings: EvaluationSettings,
    rng: np.random.Generator,
) -> list[Floats]:  # fmt: skip
    if name == "shuffled":
        return baselines.shuffled_frames(runs, sum(lengths), rng)
    if name == "persistence":
        return baselines.persistence(runs, lengths, rng)
    if name == "msm":
        paths = [model.discretise(t) for t in model.project(runs)]
        return baselines.msm_resampling(runs, paths, model.lag, lengths, rng)
    if settings.wall_time is None or settings.md_speed is None:
        raise EvaluationError("baseline replicate needs --wall-time and --md-speed: how much MD the same time pays for")
    return baselines.replicate_md(runs, settings.wall_time * settings.md_speed, model.interval)
