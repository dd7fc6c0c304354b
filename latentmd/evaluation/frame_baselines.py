"""Baselines made of training frames, scored as the generated set is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.analysis import features
from latentmd.analysis.features import EvaluationError, FeatureSet
from latentmd.analysis.metric import Metric
from latentmd.analysis.reference import ReferenceModel
from latentmd.arrays import Floats
from latentmd.evaluation import baselines
from latentmd.evaluation.compare import compare
from latentmd.evaluation.inputs import trajectory_files
from latentmd.evaluation.settings import FRAME_BASELINES, EvaluationSettings


def frame_baselines(
    model: ReferenceModel, own: FeatureSet, train: Sequence[str | Path], topology: Any, settings: EvaluationSettings
) -> dict[str, list[Metric]]:
    """The requested baselines made of training frames, each scored as the generated set is.

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
    if not train:
        raise EvaluationError(f"baseline {settings.baselines[0]} needs training trajectories; pass them with --train")
    data = features.read_set(trajectory_files(train), topology, model.spec, None, settings.interval)
    stride = round(model.interval / data.interval)
    if stride < 1 or abs(stride * data.interval - model.interval) > 1e-3 * model.interval:
        raise EvaluationError(
            f"training frames are {data.interval:g} ps apart; expected {model.interval:g} ps or a whole part of it"
        )
    runs = [run[::stride] for run in data.runs]
    rng = np.random.default_rng(settings.seed)
    lengths = [len(run) for run in own.runs]
    result = {}
    for name in settings.baselines:
        made = _frame_baseline(name, model, runs, lengths=lengths, settings=settings, rng=rng)
        result[name] = compare(model, made, brief=True).metrics
    return result


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
