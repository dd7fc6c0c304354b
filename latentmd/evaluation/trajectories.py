"""`latentmd evaluate`: trajectories against reference MD, as JSON, a table and a page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.analysis import features, thermodynamics
from latentmd.analysis.features import EvaluationError, FeatureSet
from latentmd.analysis.metric import Comparison, Metric, ReferenceModel, check_length
from latentmd.arrays import Floats
from latentmd.evaluation import baselines
from latentmd.evaluation import compare as analysis
from latentmd.evaluation.inputs import RunRecord, run_record, trajectory_files
from latentmd.io.progress import Progress
from latentmd.molecule import checks as structure

ASSUMED_TEMPERATURE = 350.0  # K, of the reference protocol
FRAME_BASELINES = ("replicate", "persistence", "msm", "shuffled")


@dataclass(frozen=True)
class Settings:
    """How to evaluate.

    Attributes:
        lag: ps, of TICA and the MSM.
        temperature: kelvin; 350 where None, which the result says.
        interval: ps between frames, for files that carry no times.
        resample: thin the finer of two spacings to the coarser.
        baselines: of `FRAME_BASELINES`, or "all" for those there is enough known for.
        wall_time: seconds the generated set took; effective samples per second and "replicate" follow from it.
        md_speed: picoseconds of plain MD per second of wall time on the same machine, for "replicate".
        seed: of k-means and every resampling.
    """

    lag: float = 100.0
    temperature: float | None = None
    interval: float | None = None
    resample: bool = False
    baselines: tuple[str, ...] = ()
    wall_time: float | None = None
    md_speed: float | None = None
    seed: int = 0


DEFAULTS = Settings()


@dataclass
class Evaluation:
    """Result of an evaluation.

    Attributes:
        metrics: of the generated set.
        baselines: the comparable metrics of each baseline.
        generated, reference: what was read.
        notes: what a reader must know.
        energies: potential energies of the reference and the generated set in kJ/mol, where they are known.
        document: everything as it is written to evaluation.json.
    """

    metrics: list[Metric]
    baselines: dict[str, list[Metric]]
    generated: FeatureSet
    reference: FeatureSet
    notes: list[str] = field(default_factory=list)
    energies: tuple[Floats | None, Floats | None] = (None, None)
    document: dict[str, Any] = field(default_factory=dict)


def evaluate(
    generated: Sequence[str | Path],
    reference: Sequence[str | Path],
    top: str | Path,
    *,
    out: str | Path | None = None,
    train: Sequence[str | Path] = (),
    settings: Settings = DEFAULTS,
    overwrite: bool = False,
    progress: Progress = lambda stage, done=None, total=None: None,
) -> Evaluation:
    """Compare generated trajectories with reference MD.

    Args:
        generated, reference: trajectory files, each an independent run, or folders of them.
        top: PDB file with the atoms of all of them.
        out: folder for evaluation.json and evaluation.html; nothing is written where None.
        train: training trajectories, for the baselines.
        settings: lag, temperature and the rest.
        overwrite: replace an earlier evaluation in `out`.
        progress: called with the name of each stage as it begins, and with what is done and the total where known.

    Raises:
        EvaluationError: anything wrong with the input, in one sentence.
    """
    folder = None if out is None else prepared_folder(Path(out), overwrite)
    progress("reading the reference")
    topology, _ = features.load_topology(Path(top))
    spec = features.feature_spec(topology)
    tick = partial(progress, "reading the reference")
    md = features.read_set(trajectory_files(reference), topology, spec, None, settings.interval, tick)
    settings, records = _recorded(settings, md.files, trajectory_files(generated))
    template = structure.structure_template(topology, md.kept)
    progress("reading the generated set")
    tick = partial(progress, "reading the generated set")
    own = features.read_set(trajectory_files(generated), topology, spec, template, settings.interval, tick)
    notes = _notes(settings, md, own, spec)
    spacing, dense = md.interval, md.runs
    interval, md.runs, own.runs = _common_spacing(md, own, settings.resample, notes)
    if max(float(np.ptp(run, axis=0).max()) for run in own.runs) < 1e-6:
        raise EvaluationError("every generated frame is the same structure; there is nothing to evaluate")
    progress("modelling the reference")
    temperature = settings.temperature or ASSUMED_TEMPERATURE
    thinned = interval > spacing * 1.001
    model = ReferenceModel(
        spec, md.runs, interval, settings.lag, temperature, settings.seed, dense if thinned else None
    )
    check_length("generated", own.runs, model.lag, interval)
    progress("comparing")
    comparison = analysis.compare(model, own.runs, tick=partial(progress, "comparing"))
    metrics = comparison.metrics + structure_metrics(own, md, template) + speed_metrics(comparison, settings)
    energies = (records[0].energies, records[1].energies)
    metrics += energy_metrics(*energies)
    progress("baselines")
    rivals = frame_baselines(model, own, train, topology, settings)
    result = Evaluation(metrics, rivals, own, md, notes, energies)
    result.document = document(result, model, settings, top)
    result.document["seeds"] = {"reference": records[0].seeds, "generated": records[1].seeds}
    if folder is not None:
        progress("writing the page")
        from latentmd.evaluation.page import write

        write(result, model, comparison, topology, folder)
    return result


def _recorded(
    settings: Settings, reference: Sequence[Path], generated: Sequence[Path]
) -> tuple[Settings, tuple[RunRecord, RunRecord]]:
    """Settings with what the runs' own files say, where the user did not."""
    md, own = run_record(reference), run_record(generated)
    found = replace(
        settings,
        temperature=settings.temperature or own.temperature or md.temperature,
        wall_time=settings.wall_time or own.wall_time,
        md_speed=settings.md_speed or own.md_speed,
    )
    if "all" in settings.baselines:
        known = found.wall_time is not None and found.md_speed is not None
        found = replace(found, baselines=FRAME_BASELINES if known else FRAME_BASELINES[1:])
    return found, (md, own)


def energy_metrics(reference: Floats | None, generated: Floats | None) -> list[Metric]:
    """Generated potential energies (relaxed or moved by an engine) inside MD's range; nothing where unknown."""
    if reference is None or generated is None:
        return []
    bounds = thermodynamics.energy_range(reference)
    inside = [thermodynamics.fraction_inside(e, bounds) for e in (generated, reference)]
    note = f"{bounds[0]:.1f} to {bounds[1]:.1f} kJ/mol, from {len(reference)} frames"
    return [
        Metric("frames in MD's 0.1 to 99.9 % of energies", "energy", inside[0], "", inside[1], note=note),
        Metric("mean potential energy", "energy", float(np.mean(generated)), "kJ/mol", float(np.mean(reference))),
    ]


def prepared_folder(folder: Path, overwrite: bool) -> Path:
    """Make a folder for results, refusing one that holds an evaluation already or cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvaluationError(f"{folder}: cannot make this folder ({error.strerror}); choose another --out") from error
    if not os.access(folder, os.W_OK):
        raise EvaluationError(f"{folder}: not writable; choose another folder with --out")
    if (folder / "evaluation.json").exists() and not overwrite:
        raise EvaluationError(f"{folder} holds an evaluation already; pass --overwrite or another --out")
    return folder


def _notes(settings: Settings, md: FeatureSet, own: FeatureSet, spec: features.FeatureSpec) -> list[str]:
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


def _common_spacing(
    md: FeatureSet, own: FeatureSet, resample: bool, notes: list[str]
) -> tuple[float, list[Floats], list[Floats]]:
    a, b = md.interval, own.interval
    if abs(a - b) <= 1e-3 * max(a, b):
        return a, md.runs, own.runs
    if not resample:
        raise EvaluationError(
            f"reference frames are {a:g} ps apart and generated frames {b:g} ps; pass --resample to thin the finer set"
        )
    ratio = max(a, b) / min(a, b)
    if abs(ratio - round(ratio)) > 1e-3 * ratio:
        raise EvaluationError(
            f"reference frames are {a:g} ps apart and generated frames {b:g} ps, not a whole multiple of each other; "
            "write one of them again at a matching spacing"
        )
    stride = round(ratio)
    notes.append(
        f"kinetics use every {stride}th frame of the reference, {b:g} ps apart; distributions count all of its frames"
        if a < b
        else f"every {stride}th frame of the generated set was used, to compare at {a:g} ps"
    )
    thin = [[run[::stride] for run in s] if s is fine else list(s) for s, fine in _fine(md, own)]
    return max(a, b), thin[0], thin[1]


def _fine(md: FeatureSet, own: FeatureSet) -> list[tuple[list[Floats], list[Floats]]]:
    fine = md.runs if md.interval < own.interval else own.runs
    return [(md.runs, fine), (own.runs, fine)]


def structure_metrics(own: FeatureSet, md: FeatureSet, template: structure.StructureTemplate) -> list[Metric]:
    """Fractions of frames that pass each structure check, and z-scores of bonds and angles, beside the reference's."""
    other = features.StructureTotals()
    other.add(np.asarray(md.kept, dtype=np.float64), template)
    rows = []
    for name, label in (
        ("bonds", "bond lengths valid"), ("angles", "bond angles valid"), ("chirality", "stereocentres right"),
        ("clashes", "no clash"),
    ):  # fmt: skip
        note = "no stereocentre in this molecule" if name == "chirality" and len(template.centres) == 0 else ""
        values = [t.passed[name] / t.frames for t in (own.totals, other)]
        rows.append(Metric(f"frames, {label}", "structure", values[0], "", values[1], note=note))
    rows.append(Metric("frames, all checks", "structure", own.totals.valid / own.totals.frames, "",
                       other.valid / other.frames))  # fmt: skip
    for attribute, label in (("bond_square", "bond z-score, RMS"), ("angle_square", "angle z-score, RMS")):
        values = [float(np.sqrt(getattr(t, attribute) / t.frames)) for t in (own.totals, other)]
        rows.append(Metric(label, "structure", values[0], "", values[1]))
    return rows


def speed_metrics(comparison: Comparison, settings: Settings) -> list[Metric]:
    """Effective samples per second of wall time, where that is known."""
    if settings.wall_time is None:
        return []
    rate = comparison.value("effective samples, TIC-0") / settings.wall_time
    return [Metric("effective samples per second of wall time", "sampling", rate, "1/s")]


def frame_baselines(
    model: ReferenceModel, own: FeatureSet, train: Sequence[str | Path], topology: Any, settings: Settings
) -> dict[str, list[Metric]]:
    """The requested baselines made of training frames, each scored as the generated set is.

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
        made = _frame_baseline(name, model, runs, lengths, settings, rng)
        result[name] = analysis.compare(model, made, brief=True).metrics
    return result


def _frame_baseline(
    name: str, model: ReferenceModel, runs: list[Floats], lengths: list[int], settings: Settings,
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


def document(result: Evaluation, model: ReferenceModel, settings: Settings, top: str | Path) -> dict[str, Any]:
    """Everything about an evaluation, as evaluation.json holds it."""
    from importlib.metadata import version

    def described(data: FeatureSet) -> dict[str, Any]:
        frames = sum(len(run) for run in data.runs)
        return {
            "files": [str(f) for f in data.files],
            "runs": len(data.runs),
            "frames_compared": frames,
            "frames_checked": data.totals.frames or len(data.kept),
            "interval_ps": data.interval,
            "simulated_ps": frames * model.interval,
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
