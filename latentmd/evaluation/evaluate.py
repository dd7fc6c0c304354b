"""`latentmd evaluate`: trajectories against reference MD, as JSON, a table and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from latentmd.analysis import features
from latentmd.analysis.features import EvaluationError, FeatureSet
from latentmd.analysis.metric import Comparison, Document, Evaluation, Metric
from latentmd.analysis.reference import ReferenceModel, check_length
from latentmd.evaluation.baselines import chosen_baselines, frame_baselines
from latentmd.evaluation.compare import compare
from latentmd.evaluation.frames import energy_metrics, structure_metrics
from latentmd.evaluation.inputs import (
    ASSUMED_TEMPERATURE,
    DEFAULTS,
    EvaluationSettings,
    refuse_unused_interval,
    run_record,
    trajectory_files,
)
from latentmd.evaluation.page import write
from latentmd.evaluation.shape import shape_metrics
from latentmd.io.folder import results_folder
from latentmd.io.progress import Progress, quiet
from latentmd.io.solute import solute_or_all
from latentmd.molecule.checks import structure_template


def evaluate(
    generated: Sequence[str | Path],
    reference: Sequence[str | Path],
    top: str | Path,
    *,
    out: str | Path | None = None,
    train: Sequence[str | Path] = (),
    settings: EvaluationSettings = DEFAULTS,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> Evaluation:
    """Compare generated trajectories with reference MD.

    Args:
        generated, reference: trajectory files, each an independent run, or folders of them.
        top: PDB file with the atoms of all of them; of a solute in water, the solute, which files may hold alone.
        out: folder for evaluation.json and evaluation.html; nothing is written where None.
        train: training trajectories, for the baselines.
        settings: lag, temperature and the rest.
        overwrite: replace an earlier evaluation in `out`.
        progress: called with the name of each stage as it begins, and with what is done and the total where known.

    Raises:
        EvaluationError: anything wrong with the input, in one sentence.
    """
    folder = None if out is None else results_folder(Path(out), overwrite, "evaluation.json")
    whole, frame = features.load_topology(Path(top))
    solute = solute_or_all(whole, frame[0])
    topology, spec = solute.topology, features.feature_spec(solute.topology)
    files = [trajectory_files(paths) for paths in (reference, generated)]
    read = partial(features.read_set, topology=topology, spec=spec, interval=settings.interval, system=(whole, solute))
    progress("reading the reference")
    md = read(files[0], template=None, tick=partial(progress, "reading the reference"))
    template = structure_template(topology, md.kept)
    progress("reading the generated set")
    own = read(files[1], template=template, tick=partial(progress, "reading the generated set"))
    records = [run_record(paths) for paths in files]
    energies = (records[0].energies, records[1].energies)
    settings = replace(
        settings,
        temperature=settings.temperature or records[1].temperature or records[0].temperature,
        wall_time=settings.wall_time or records[1].wall_time,
        md_speed=settings.md_speed or records[1].md_speed,
    )
    refuse_unused_interval(settings.interval, md, own)
    notes = _notes(settings, md, own, spec)
    spacing, dense = md.interval, md.runs
    interval = _common_spacing(md, own, settings.resample, notes)
    if max(float(np.ptp(run, axis=0).max()) for run in own.runs) < 1e-6:
        raise EvaluationError("every generated frame is the same structure; there is nothing to evaluate")
    progress("modelling the reference")
    kelvin = settings.temperature or ASSUMED_TEMPERATURE
    model = ReferenceModel(spec, md.runs, interval, lag=settings.lag, temperature=kelvin, seed=settings.seed,
                           dense=dense if interval > spacing * 1.001 else None)  # fmt: skip
    check_length("generated", own.runs, model.lag, interval)
    progress("comparing")
    comparison = compare(model, own.runs, tick=partial(progress, "comparing"))
    metrics = comparison.metrics + structure_metrics(own, md, template) + speed_metrics(comparison, settings)
    metrics += energy_metrics(*energies) + shape_metrics(own, md, topology)
    progress("baselines")
    settings = replace(settings, baselines=chosen_baselines(settings, spec, topology, md.kept[0]))
    rivals = frame_baselines(model, own, train, topology, settings)
    result = Evaluation(metrics, rivals, own, reference=md, notes=notes, energies=energies)
    result.document = document(result, model, settings, top)
    result.document["seeds"] = {"reference": records[0].seeds, "generated": records[1].seeds}
    if folder is not None:
        progress("writing the page")
        write(result, model, comparison, topology, folder)
    return result


def _notes(settings: EvaluationSettings, md: FeatureSet, own: FeatureSet, spec: features.FeatureSpec) -> list[str]:
    notes = []
    if settings.temperature is None:
        notes.append(f"temperature {ASSUMED_TEMPERATURE:g} K assumed; free energies scale with it (--temperature)")
    for name, data in (("generated", own), ("reference", md)):
        if len(data.runs) == 1:
            notes.append(f"the {name} set is one walker: its intervals come from blocks of it, not independent runs")
    if spec.many:
        notes.append(f"TICA uses the backbone torsions only: the molecule has {len(spec.names)} torsions")
    if spec.kind == "distances":
        notes.append("no named torsions in this molecule: distances between heavy atoms stand in for them")
    shared = {p.resolve() for p in md.files} & {p.resolve() for p in own.files}
    if shared:
        notes.append(f"{len(shared)} file(s) are in both sets, so the comparison is partly of data with itself")
    return notes


def _common_spacing(md: FeatureSet, own: FeatureSet, resample: bool, notes: list[str]) -> float:
    """Thin the finer set to the spacing of the coarser, which is returned in ps."""
    a, b = md.interval, own.interval
    if abs(a - b) <= 1e-3 * max(a, b):
        return a
    if not resample:
        raise EvaluationError(
            f"reference frames are {a:g} ps apart and generated frames {b:g} ps; pass --resample to thin the finer set"
        )
    ratio = max(a, b) / min(a, b)
    stride = round(ratio)
    if abs(ratio - stride) > 1e-3 * ratio:
        raise EvaluationError(
            f"reference frames are {a:g} ps apart and generated frames {b:g} ps, not a whole multiple of each other; "
            "write one of them again at a matching spacing"
        )
    notes.append(
        f"kinetics use every {stride}th frame of the reference, {b:g} ps apart; distributions count all of its frames"
        if a < b
        else f"every {stride}th frame of the generated set was used, to compare at {a:g} ps"
    )
    fine = md if a < b else own
    fine.runs = [run[::stride] for run in fine.runs]
    return max(a, b)


def speed_metrics(comparison: Comparison, settings: EvaluationSettings) -> list[Metric]:
    """Effective samples per second of wall time, where that is known."""
    if settings.wall_time is None:
        return []
    rate = comparison.value("effective samples, TIC-0") / settings.wall_time
    return [Metric("effective samples per second of wall time", "sampling", rate, "1/s")]


def document(result: Evaluation, model: ReferenceModel, settings: EvaluationSettings, top: str | Path) -> Document:
    """Everything about an evaluation, as evaluation.json holds it; `top` is the topology file, or the name of the
    model.
    """
    from importlib.metadata import version

    def described(data: FeatureSet) -> Document:
        return {
            "files": [str(f) for f in data.files],
            "runs": len(data.runs),
            "frames_compared": data.frames,
            "frames_checked": data.totals.frames or len(data.kept),
            "interval_ps": data.interval,
            "simulated_ps": data.frames * model.interval,
        }

    return {
        "format": "latentmd-evaluation-1",
        "latentmd": version("latentmd"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "topology": str(top),
        "settings": {
            "lag_ps": settings.lag,
            "interval_ps": model.interval,
            "temperature_K": model.temperature,
            "seed": settings.seed,
            "features": list(model.spec.names),
            "centres": model.states,
            "macrostates": model.sets,
            "reference_frames_of_distributions": sum(map(len, model.dense)),
            "tica_dimension": model.dimension,
        },
        "generated": described(result.generated),
        "reference": described(result.reference),
        "metrics": result.metrics,
        "baselines": result.baselines,
        "notes": result.notes,
    }
