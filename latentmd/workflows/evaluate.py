"""`latentmd evaluate`: trajectories against reference MD, as JSON, a table and a page."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.evaluation import analysis, baselines, features, figures, record, report, structure
from latentmd.evaluation.analysis import Comparison, Metric, ReferenceModel
from latentmd.evaluation.features import EvaluationError, FeatureSet
from latentmd.evaluation.statistics import TORSION_PAIR_GRID, Floats

Progress = Callable[[str], None]
ASSUMED_TEMPERATURE = 350.0  # K, of the reference protocol
TRAJECTORIES = (".xtc", ".dcd", ".h5", ".trr", ".nc", ".npy")
FRAME_BASELINES = ("replicate", "persistence", "msm", "shuffled")


@dataclass(frozen=True)
class Settings:
    """How to evaluate.

    Attributes:
        lag: ps, of TICA and the MSM.
        temperature: kelvin; 350 where None, which the result says.
        interval: ps between frames, for files that carry no times.
        resample: thin the finer of two spacings to the coarser.
        baselines: of `FRAME_BASELINES`; all but "replicate" need training trajectories.
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


@dataclass
class Evaluation:
    """Result of an evaluation.

    Attributes:
        metrics: of the generated set.
        baselines: the comparable metrics of each baseline.
        generated, reference: what was read.
        notes: what a reader must know.
        document: everything as it is written to evaluation.json.
    """

    metrics: list[Metric]
    baselines: dict[str, list[Metric]]
    generated: FeatureSet
    reference: FeatureSet
    notes: list[str] = field(default_factory=list)
    document: dict[str, Any] = field(default_factory=dict)


def trajectory_files(paths: Sequence[str | Path]) -> list[Path]:
    """Trajectory files named directly or found in folders, such as those that `simulate` and `md` write.

    Raises:
        EvaluationError: a path does not exist, or a folder holds no trajectory.
    """
    found: list[Path] = []
    for given in map(Path, paths):
        if not given.is_dir():
            found.append(given)
            continue
        inside = sorted(p for p in given.iterdir() if p.suffix in TRAJECTORIES and "energy" not in p.stem)
        if not inside:
            raise EvaluationError(f"{given}: a folder without trajectories; expected files ending in {TRAJECTORIES}")
        found += inside
    if not found:
        raise EvaluationError("no trajectory was named; expected at least one file or folder")
    return found


def evaluate(
    generated: Sequence[str | Path],
    reference: Sequence[str | Path],
    top: str | Path,
    *,
    out: str | Path | None = None,
    train: Sequence[str | Path] = (),
    settings: Settings = Settings(),
    overwrite: bool = False,
    progress: Progress = lambda stage: None,
) -> Evaluation:
    """Compare generated trajectories with reference MD.

    Args:
        generated, reference: trajectory files, each an independent run, or folders of them.
        top: PDB file with the atoms of all of them.
        out: folder for evaluation.json and evaluation.html; nothing is written where None.
        train: training trajectories, for the baselines.
        settings: lag, temperature and the rest.
        overwrite: replace an earlier evaluation in `out`.
        progress: called with the name of each stage as it begins.

    Raises:
        EvaluationError: anything wrong with the input, in one sentence.
    """
    folder = None if out is None else prepared_folder(Path(out), overwrite)
    progress("reading the reference")
    topology, _ = features.load_topology(Path(top))
    spec = features.feature_spec(topology)
    md = features.read_set(trajectory_files(reference), topology, spec, None, settings.interval)
    template = structure.structure_template(topology, md.kept)
    progress("reading the generated set")
    own = features.read_set(trajectory_files(generated), topology, spec, template, settings.interval)
    notes = _notes(settings, md, own, spec.kind)
    interval, md.runs, own.runs = _common_spacing(md, own, settings.resample, notes)
    if max(float(np.ptp(run, axis=0).max()) for run in own.runs) < 1e-6:
        raise EvaluationError("every generated frame is the same structure; there is nothing to evaluate")
    progress("modelling the reference")
    temperature = settings.temperature or ASSUMED_TEMPERATURE
    model = ReferenceModel(spec, md.runs, interval, settings.lag, temperature, settings.seed)
    analysis.check_length("generated", own.runs, model.lag, interval)
    progress("comparing")
    comparison = analysis.compare(model, own.runs)
    metrics = comparison.metrics + structure_metrics(own, md, template) + _speed_metrics(comparison, settings)
    progress("baselines")
    rivals = frame_baselines(model, own, train, topology, settings)
    result = Evaluation(metrics, rivals, own, md, notes)
    result.document = _document(result, model, settings, top)
    if folder is not None:
        progress("writing the page")
        write(result, model, comparison, topology, folder)
    return result


def prepared_folder(folder: Path, overwrite: bool) -> Path:
    """Make a folder for results, refusing one that holds an evaluation already or cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvaluationError(f"{folder}: cannot make this folder ({error.strerror}); choose another with --out") from error
    if not os.access(folder, os.W_OK):
        raise EvaluationError(f"{folder}: not writable; choose another folder with --out")
    if (folder / "evaluation.json").exists() and not overwrite:
        raise EvaluationError(f"{folder} holds an evaluation already; pass --overwrite or another --out")
    return folder


def _notes(settings: Settings, md: FeatureSet, own: FeatureSet, kind: str) -> list[str]:
    notes = []
    if settings.temperature is None:
        notes.append(f"temperature {ASSUMED_TEMPERATURE:g} K assumed; free energies scale with it (--temperature)")
    for name, data in (("generated", own), ("reference", md)):
        if len(data.runs) == 1:
            notes.append(f"the {name} set is one walker: its intervals come from blocks of it, not independent runs")
    if kind == "distances":
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
    which = "reference" if a < b else "generated set"
    notes.append(f"every {stride}th frame of the {which} was used, to compare at {max(a, b):g} ps")
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


def _speed_metrics(comparison: Comparison, settings: Settings) -> list[Metric]:
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
        raise EvaluationError(f"baseline {settings.baselines[0]} is made of training trajectories; pass them with --train")
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


def _document(result: Evaluation, model: ReferenceModel, settings: Settings, top: str | Path) -> dict[str, Any]:
    from importlib.metadata import version

    def described(data: FeatureSet) -> dict[str, Any]:
        frames = sum(len(run) for run in data.runs)
        return {
            "files": [str(f) for f in data.files], "runs": len(data.runs), "frames_read": data.totals.frames or frames,
            "frames_compared": frames, "interval_ps": data.interval, "simulated_ps": frames * model.interval,
        }  # fmt: skip

    return {
        "format": "latentmd-evaluation-1",
        "latentmd": version("latentmd"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "topology": str(top),
        "settings": {
            "lag_ps": settings.lag, "interval_ps": model.interval, "temperature_K": model.temperature,
            "seed": settings.seed, "features": list(model.spec.names), "centres": model.states,
            "macrostates": model.sets, "tica_dimension": model.dimension,
        },  # fmt: skip
        "generated": described(result.generated),
        "reference": described(result.reference),
        "metrics": result.metrics,
        "baselines": result.baselines,
        "notes": result.notes,
    }


def write(
    result: Evaluation, model: ReferenceModel, comparison: Comparison, topology: Any, folder: Path,
    extra: Sequence[report.Section] = (), extra_document: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write evaluation.json and evaluation.html into a folder."""
    own, md = result.generated, result.reference
    frames = [sum(len(r) for r in s.runs) for s in (own, md)]
    lead = (
        f"{frames[0]:,} frames in {len(own.runs)} run(s) against {frames[1]:,} frames of reference MD, "
        f"{model.interval:g} ps apart, lag {model.lag * model.interval:g} ps, {model.temperature:g} K"
    )
    intro = "The floor is MD against MD at the same number of frames, and in brackets at the same number of effective "
    sections = [report.Section("Metrics", intro + "samples.", report.metric_table(result.metrics))]
    if result.notes:
        sections.append(report.Section("Notes", body=report.notes_list(result.notes)))
    if result.baselines:
        body = report.baseline_table(result.metrics, result.baselines)
        text = 'A value marked "=" does at least as well as the generated set.'
        sections.append(report.Section("Baselines", text, body))
    sections += [*extra, *_figure_sections(model, own, md, comparison)]
    view = report.View(topology, [("generated", *_first_run(own)), ("reference", *_first_run(md))])
    title = f"Evaluation of {Path(own.files[0]).parent.name or own.files[0]}"
    report.write_page(folder / "evaluation.html", title, lead, sections, view)
    record.write_json(folder / "evaluation.json", {**result.document, **(extra_document or {})})


def _first_run(data: FeatureSet) -> tuple[Floats, Floats]:
    count = max(1, len(data.kept) // len(data.files))
    frames = data.kept[:count]
    length = data.totals.frames / len(data.files) if data.totals.frames else data.frames / len(data.files)
    return frames, np.linspace(0, max(length - 1, 0), len(frames)) * data.interval


def _figure_sections(
    model: ReferenceModel, own: FeatureSet, md: FeatureSet, comparison: Comparison
) -> list[report.Section]:
    spec, curves, sections = model.spec, comparison.curves, []
    if spec.pairs:
        images = []
        for phi, psi in spec.pairs[:4]:
            counts = [
                TORSION_PAIR_GRID.counts(np.concatenate([r[:, [phi, psi]] for r in s.runs])) for s in (md, own)
            ]
            labels = (f"{spec.names[phi]} (degrees)", f"{spec.names[psi]} (degrees)")
            image = figures.surfaces(counts[0], counts[1], figures.ramachandran_bounds(), labels, model.temperature)
            images.append((image, f"Free energy over {spec.names[phi]} and {spec.names[psi]}"))
        sections.append(report.Section("Ramachandran surfaces", figures=images))
    if "tica_counts" in curves:
        grid = curves["tica_grid"]
        bounds = (grid.low[0], grid.high[0], grid.low[1], grid.high[1])
        image = figures.surfaces(*curves["tica_counts"], bounds, ("TIC 0", "TIC 1"), model.temperature)
        caption = "Free energy over the two slowest coordinates of the reference"
        sections.append(report.Section("TICA surfaces", figures=[(image, caption)]))
    drawn = figures.histograms(spec.names, md.runs, own.runs, spec.kind == "torsions")
    sections.append(report.Section("Histograms", figures=[(drawn, f"Densities of {spec.kind}")]))
    moving = figures.kinetics(curves, model.interval, model.lag)
    if moving:
        caption = "Timescales with 95 % intervals (grey: below the lag), Chapman-Kolmogorov test, autocorrelations"
        sections.append(report.Section("Kinetics", figures=[(moving, caption)]))
    image = figures.states(curves["states"], curves["flux"])
    sections.append(report.Section("Markov states", figures=[(image, "Stationary populations and reactive fluxes")]))
    return sections
