"""Scores of many molecules: trajectories of each beside its reference MD, in processes here or on a Dask cluster."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from operator import call
from pathlib import Path

import numpy as np

from latentmd.analysis.metric import Metric
from latentmd.evaluation.evaluate import evaluate
from latentmd.evaluation.inputs import DEFAULTS, EvaluationSettings
from latentmd.io.folder import results_folder
from latentmd.io.progress import Progress, quiet
from latentmd.report.page import write_json
from latentmd.sampling.run.processes import cores
from latentmd.sampling.run.scheduler import open_scheduler
from latentmd.training.peptides.dataset import MoleculeFiles, find_molecules

logger = logging.getLogger(__name__)
SCORES = "scores.json"


@dataclass(frozen=True)
class Scores:
    """Metrics of each molecule by its name, reasons for those without, and the folder with a page of each."""

    folder: Path
    metrics: dict[str, list[Metric]]
    failed: dict[str, str]

    def value(self, molecule: str, metric: str) -> float:
        """A metric of a molecule; nan where it has none of that name."""
        return next((one.value for one in self.metrics[molecule] if one.name == metric), float("nan"))

    def median(self, metric: str) -> float:
        """Median of a metric over the molecules that have it; nan where none has."""
        values = [self.value(name, metric) for name in self.metrics]
        return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")


def is_data_set(folder: Path) -> bool:
    """Whether a folder holds runs of several molecules, each in a folder of its own."""
    return folder.is_dir() and ((folder / "manifest.json").exists() or any(folder.glob("*/topology.pdb")))


def evaluate_data_set(
    generated: str | Path, reference: str | Path, *, out: str | Path, settings: EvaluationSettings = DEFAULTS,
    processes: int | None = None, scheduler: str | None = None, overwrite: bool = False, progress: Progress = quiet,
) -> Scores:  # fmt: skip
    """Compare the molecules of a data set with reference MD of the same ones, as `latentmd.evaluate` does with one.

    Args:
        generated, reference: data sets, such as `latentmd simulate` and `latentmd md` make of several molecules; those
            that both hold, by name, are scored.
        out: folder for scores.json, and evaluation.json and evaluation.html of each molecule in a folder of its name.
        settings: as of `latentmd.evaluate`.
        processes: on this machine; one per core where None.
        scheduler: address of a Dask scheduler whose workers see the same folders; this machine where None.
        overwrite: replace earlier scores in `out`.
        progress: called with ("scoring", molecules done, molecules).

    Raises:
        ValueError: no molecule is in both, not one could be scored, or no scheduler answers.
        OutputError: the folder cannot be used.
    """
    own, md = ({item.name: item for item in find_molecules(Path(folder))} for folder in (generated, reference))
    names = sorted(own.keys() & md.keys())
    if not names:
        raise ValueError(f"{generated} and {reference} share no molecule by name; expected data sets of the same ones")
    folder = results_folder(Path(out), overwrite, SCORES).absolute()
    work = [partial(_score, own[name], md[name], folder / name, settings) for name in names]
    metrics, failed = dict[str, list[Metric]](), dict[str, str]()
    with open_scheduler(scheduler, min(len(work), processes or cores()), alone=True) as tasks:
        progress("scoring", 0, len(work))
        for name, found in zip(names, tasks.map(call, work), strict=True):
            if isinstance(found, str):
                logger.warning("%s: %s", name, found)
                failed[name] = found
            else:
                metrics[name] = found
            progress("scoring", len(metrics) + len(failed), len(work))
    if not metrics:
        raise ValueError(f"not one of {len(names)} molecules could be scored; {names[0]}: {failed[names[0]]}")
    apart = {"generated": sorted(own.keys() - md.keys()), "reference": sorted(md.keys() - own.keys())}
    write_json(folder / SCORES, {"molecules": metrics, "failed": failed, "only": apart})
    return Scores(folder, metrics, failed)


def _score(own: MoleculeFiles, md: MoleculeFiles, out: Path, settings: EvaluationSettings) -> list[Metric] | str:
    """Metrics of one molecule, or why there are none."""
    try:
        runs = (own.trajectories, md.trajectories)
        return evaluate(*runs, md.topology, out=out, settings=settings, overwrite=True).metrics
    except ValueError as error:
        return str(error)
