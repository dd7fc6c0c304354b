"""`latentmd evaluate`: trajectories against reference MD, as JSON, a table and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import mdtraj
import numpy as np

from latentmd.analysis import features, thermodynamics
from latentmd.analysis.features import EvaluationError, FeatureSet
from latentmd.analysis.metric import Comparison, Document, Evaluation, Metric
from latentmd.analysis.reference import ReferenceModel, check_length
from latentmd.analysis.statistics import TORSION_PAIR_GRID
from latentmd.arrays import Floats
from latentmd.evaluation import inputs
from latentmd.evaluation.baselines import chosen_baselines, frame_baselines, training_runs
from latentmd.evaluation.compare import compare
from latentmd.evaluation.frames import energy_metrics, structure_metrics
from latentmd.evaluation.inputs import ASSUMED_TEMPERATURE, DEFAULTS, EvaluationSettings, Paths, run_record
from latentmd.evaluation.shape import shape_metrics, shape_record, shape_sections
from latentmd.evaluation.states import States
from latentmd.io.folder import results_folder
from latentmd.io.progress import Progress, quiet, stage
from latentmd.io.solute import solute_or_all
from latentmd.molecule.checks import StructureTemplate, structure_template
from latentmd.report import figures, markup
from latentmd.report import page as report
from latentmd.report.viewer import View

_RESIDUES = 12  # whose (phi, psi) planes are drawn


def evaluate(
    generated: Paths, reference: Paths, top: str | Path, *, out: str | Path | None = None, train: Paths = (),
    settings: EvaluationSettings = DEFAULTS, overwrite: bool = False, progress: Progress = quiet,
) -> Evaluation:  # fmt: skip
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
    solute = solute_or_all(whole, frame[0], settings.select)
    topology, spec = solute.topology, features.feature_spec(solute.topology)
    files = [inputs.trajectory_files(paths) for paths in (reference, generated)]
    read = partial(features.read_set, topology=topology, spec=spec, interval=settings.interval, system=(whole, solute))
    md = read(files[0], template=None, tick=stage(progress, "reading the reference"))
    template = structure_template(topology, md.kept)
    own = read(files[1], template=template, tick=stage(progress, "reading the generated set"))
    training = read(inputs.trajectory_files(train), template=None) if train else None
    records = [run_record(paths) for paths in files]
    energies = (records[0].energies, records[1].energies)
    settings = replace(
        settings,
        temperature=settings.temperature or records[1].temperature or records[0].temperature,
        wall_time=settings.wall_time or records[1].wall_time,
        md_speed=settings.md_speed or records[1].md_speed,
    )
    inputs.refuse_unused_interval(settings.interval, md, own)
    notes = _notes(settings, md, own, spec)
    dense = md.runs
    interval = _common_spacing(md, own, settings.resample, notes)
    if max(float(np.ptp(run, axis=0).max()) for run in own.runs) < 1e-6:
        raise EvaluationError("every generated frame is the same structure; there is nothing to evaluate")
    progress("modelling the reference")
    kelvin = settings.temperature or ASSUMED_TEMPERATURE
    unthinned = None if dense is md.runs else dense
    model = ReferenceModel(spec, md.runs, interval, settings.lag, kelvin, seed=settings.seed, dense=unthinned)
    comparison = compared(model, own, md, template, settings=settings, progress=progress)
    taught, settings = (training_runs(training, model), settings.beside_training()) if training else ([], settings)
    progress("states")
    sets = {"training": replace(training, runs=taught)} if training else {}
    states = States(model, sets | {"reference": md, "generated": own}, topology)
    comparison.metrics += energy_metrics(*energies) + shape_metrics(states.shapes)
    progress("baselines")
    settings = replace(settings, baselines=chosen_baselines(settings, spec, topology, md.kept[0]))
    rivals = frame_baselines(model, own, taught, topology, settings)
    if "shuffled" in rivals:
        rivals["shuffled"] += shape_metrics(states.shapes | {"generated": states.shapes["training"]})
    result = Evaluation(comparison.metrics, rivals, own, reference=md, notes=notes, energies=energies)
    result.document = document(result, model, settings, top)
    result.document["seeds"] = {"reference": records[0].seeds, "generated": records[1].seeds}
    result.document |= {"states": states.record(), "shape": shape_record(states.shapes, topology)}
    if folder is not None:
        progress("writing the page")
        pictures = [states.section(folder), *shape_sections(states.shapes, topology)]
        write(result, model, comparison.curves, topology, folder, extra=pictures)
    return result


def compared(
    model: ReferenceModel, own: FeatureSet, md: FeatureSet, template: StructureTemplate, settings: EvaluationSettings,
    progress: Progress,
) -> Comparison:  # fmt: skip
    """Metrics and curves of a generated set: `compare`, structure checks, effective samples per second where known."""
    check_length("generated", own.runs, model.lag, model.interval)
    found = compare(model, own.runs, tick=stage(progress, "comparing"))
    found.metrics += structure_metrics(own, md, template)
    if settings.wall_time is not None:
        rate = found.value("effective samples, TIC-0") / settings.wall_time
        found.metrics.append(Metric("effective samples per second of wall time", "sampling", rate, "1/s"))
    return found


def _notes(settings: EvaluationSettings, md: FeatureSet, own: FeatureSet, spec: features.FeatureSpec) -> list[str]:
    shared = {p.resolve() for p in md.files} & {p.resolve() for p in own.files}
    one = "set is one walker: its intervals come from blocks of it, not independent runs"
    assumed = f"temperature {ASSUMED_TEMPERATURE:g} K assumed; free energies scale with it (--temperature)"
    found = {
        assumed: settings.temperature is None,
        f"the generated {one}": len(own.runs) == 1,
        f"the reference {one}": len(md.runs) == 1,
        f"TICA uses the backbone torsions only: the molecule has {len(spec.names)} torsions": spec.many,
        "no named torsions in this molecule: distances between heavy atoms stand in for them": spec.kind == "distances",
        f"{len(shared)} file(s) are in both sets, so the comparison is partly of data with itself": bool(shared),
    }
    return [note for note, wanted in found.items() if wanted]


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


def document(result: Evaluation, model: ReferenceModel, settings: EvaluationSettings, top: str | Path) -> Document:
    """Everything about an evaluation, as evaluation.json holds it; `top` is a file, or the name of the model."""

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


def write(
    result: Evaluation, model: ReferenceModel, curves: Document, topology: mdtraj.Topology, folder: Path,
    extra: Sequence[report.Section] = (),
) -> None:  # fmt: skip
    """Write evaluation.json and evaluation.html into a folder; `extra` sections stand after the tables."""
    own, md, every = result.generated, result.reference, sum(map(len, model.dense))
    more = f" ({every:,} for distributions)" if every > md.frames else ""
    lead = (
        f"{own.frames:,} frames in {len(own.runs)} run(s) against {md.frames:,} frames of reference MD, "
        f"{model.interval:g} ps apart{more}, lag {model.lag * model.interval:g} ps, {model.temperature:g} K"
    )
    intro = (
        "The floor is MD against MD: at the same number of frames in one stretch, in round brackets at the same number "
        "of effective samples, in square brackets at the same number of frames drawn independently of each other, as a "
        "perfect sampler would."
    )
    section = report.Section
    sections = [section("Metrics", intro, markup.metric_table(result.metrics))]
    if result.notes:
        sections.append(section("Notes", body=markup.bullets(result.notes)))
    if result.baselines:
        text = 'A value marked "=" does at least as well as the generated set.'
        sections.append(section("Baselines", text, markup.baseline_table(result.metrics, result.baselines)))
    sections += [*extra, *_figure_sections(model, own, curves)]
    known, generated = result.energies
    if generated is not None:
        image = figures.energies(known, generated, None if known is None else thermodynamics.energy_range(known))
        caption = "Potential energy of frames an engine moved; shaded: MD's 0.1 to 99.9 %"
        sections.append(section("Energies", figures=[(image, caption)]))
    view = View(topology, [("generated", *_first_run(own)), ("reference", *_first_run(md))])
    title = f"Evaluation of {Path(own.files[0]).parent.name or own.files[0]}"
    report.write_page(folder / "evaluation.html", title, lead, sections, view)
    report.write_json(folder / "evaluation.json", result.document)


def _first_run(data: FeatureSet) -> tuple[Floats, Floats]:
    frames = data.kept[: max(1, len(data.kept) // len(data.files))]
    length = (data.totals.frames or data.frames) / len(data.files)
    return frames, np.linspace(0, max(length - 1, 0), len(frames)) * data.interval


def _figure_sections(model: ReferenceModel, own: FeatureSet, curves: Document) -> list[report.Section]:
    spec, found = model.spec, []
    images = []
    for columns in spec.pairs[:_RESIDUES]:
        sets = (model.dense, own.runs)
        counts = [TORSION_PAIR_GRID.counts(np.concatenate([r[:, list(columns)] for r in runs])) for runs in sets]
        phi, psi = (spec.names[column] for column in columns)
        labels, bounds = (f"{phi} (degrees)", f"{psi} (degrees)"), figures.ramachandran_bounds()
        image = figures.surfaces(counts[0], counts[1], bounds, labels, model.temperature)
        images.append((image, f"Free energy over {phi} and {psi}"))
    if images:
        left = len(spec.pairs) - len(images)
        text = f"The first {_RESIDUES} residues; {left} more are not drawn." if left else ""
        found.append(report.Section("Ramachandran surfaces", text, figures=images))
    drawn: list[tuple[str, bytes | None, str]] = []
    if "tica_counts" in curves:
        grid, counts = curves["tica_grid"], curves["tica_counts"]
        bounds = (grid.low[0], grid.high[0], grid.low[1], grid.high[1])
        image = figures.surfaces(counts[0], counts[1], bounds, ("TIC 0", "TIC 1"), model.temperature)
        drawn.append(("TICA surfaces", image, "Free energy over the two slowest coordinates of the reference"))
    image = figures.histograms(spec.names, model.dense, own.runs, spec.kind == "torsions")
    caption = (
        "Timescales with 95 % intervals (grey: below the lag), Chapman-Kolmogorov test (lines: model, rings: data), "
        "autocorrelations"
    )
    drawn.append(("Histograms", image, f"Densities of {spec.kind}"))
    drawn.append(("Kinetics", figures.kinetics(curves, model.interval, model.lag), caption))
    return found + [report.Section(title, figures=[(png, text)]) for title, png, text in drawn if png is not None]
