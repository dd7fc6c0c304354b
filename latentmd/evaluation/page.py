"""The files of an evaluation: evaluation.json and the self-contained evaluation.html."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latentmd.analysis import thermodynamics
from latentmd.analysis.features import FeatureSet
from latentmd.analysis.metric import Comparison, Evaluation
from latentmd.analysis.reference import ReferenceModel
from latentmd.analysis.statistics import TORSION_PAIR_GRID
from latentmd.arrays import Floats
from latentmd.report import figures, markup, record
from latentmd.report import page as report
from latentmd.report.viewer import View

if TYPE_CHECKING:
    import mdtraj

_RESIDUES = 12  # whose (phi, psi) planes are drawn


def write(
    result: Evaluation, model: ReferenceModel, comparison: Comparison, topology: mdtraj.Topology, folder: Path,
    extra: Sequence[report.Section] = (),
) -> None:  # fmt: skip
    """Write evaluation.json and evaluation.html into a folder; `extra` sections stand after the tables."""
    own, md = result.generated, result.reference
    frames = [sum(len(r) for r in s.runs) for s in (own, md)]
    all_frames = sum(len(r) for r in model.dense)
    more = f" ({all_frames:,} for distributions)" if all_frames > frames[1] else ""
    lead = (
        f"{frames[0]:,} frames in {len(own.runs)} run(s) against {frames[1]:,} frames of reference MD, "
        f"{model.interval:g} ps apart{more}, lag {model.lag * model.interval:g} ps, {model.temperature:g} K"
    )
    intro = (
        "The floor is MD against MD: at the same number of frames in one stretch, in round brackets at the same number "
        "of effective samples, in square brackets at the same number of frames drawn independently of each other, as a "
        "perfect sampler would."
    )
    sections = [report.Section("Metrics", intro, markup.metric_table(result.metrics))]
    if result.notes:
        sections.append(report.Section("Notes", body=markup.bullets(result.notes)))
    if result.baselines:
        body = markup.baseline_table(result.metrics, result.baselines)
        text = 'A value marked "=" does at least as well as the generated set.'
        sections.append(report.Section("Baselines", text, body))
    sections += [*extra, *_figure_sections(model, own, comparison)]
    if result.energies[1] is not None:
        bounds = None if result.energies[0] is None else thermodynamics.energy_range(result.energies[0])
        image = figures.energies(result.energies[0], result.energies[1], bounds)
        caption = "Potential energy of frames an engine moved; shaded: MD's 0.1 to 99.9 %"
        sections.append(report.Section("Energies", figures=[(image, caption)]))
    view = View(topology, [("generated", *_first_run(own)), ("reference", *_first_run(md))])
    title = f"Evaluation of {Path(own.files[0]).parent.name or own.files[0]}"
    report.write_page(folder / "evaluation.html", title, lead, sections, view)
    record.write_json(folder / "evaluation.json", result.document)


def _first_run(data: FeatureSet) -> tuple[Floats, Floats]:
    count = max(1, len(data.kept) // len(data.files))
    frames = data.kept[:count]
    length = data.totals.frames / len(data.files) if data.totals.frames else data.frames / len(data.files)
    return frames, np.linspace(0, max(length - 1, 0), len(frames)) * data.interval


def _figure_sections(model: ReferenceModel, own: FeatureSet, comparison: Comparison) -> list[report.Section]:
    spec, curves, sections = model.spec, comparison.curves, []
    if spec.pairs:
        images = []
        for phi, psi in spec.pairs[:_RESIDUES]:
            sets = (model.dense, own.runs)
            counts = [TORSION_PAIR_GRID.counts(np.concatenate([r[:, [phi, psi]] for r in runs])) for runs in sets]
            labels = (f"{spec.names[phi]} (degrees)", f"{spec.names[psi]} (degrees)")
            image = figures.surfaces(counts[0], counts[1], figures.ramachandran_bounds(), labels, model.temperature)
            images.append((image, f"Free energy over {spec.names[phi]} and {spec.names[psi]}"))
        left = len(spec.pairs) - len(images)
        text = f"The first {_RESIDUES} residues; {left} more are not drawn." if left else ""
        sections.append(report.Section("Ramachandran surfaces", text, figures=images))
    if "tica_counts" in curves:
        grid, counts = curves["tica_grid"], curves["tica_counts"]
        bounds = (grid.low[0], grid.high[0], grid.low[1], grid.high[1])
        image = figures.surfaces(counts[0], counts[1], bounds, ("TIC 0", "TIC 1"), model.temperature)
        caption = "Free energy over the two slowest coordinates of the reference"
        sections.append(report.Section("TICA surfaces", figures=[(image, caption)]))
    drawn = figures.histograms(spec.names, model.dense, own.runs, spec.kind == "torsions")
    sections.append(report.Section("Histograms", figures=[(drawn, f"Densities of {spec.kind}")]))
    moving = figures.kinetics(curves, model.interval, model.lag)
    if moving:
        caption = (
            "Timescales with 95 % intervals (grey: below the lag), Chapman-Kolmogorov test (lines: model, rings: "
            "data), autocorrelations"
        )
        sections.append(report.Section("Kinetics", figures=[(moving, caption)]))
    image = figures.states(curves["states"], curves["flux"])
    sections.append(report.Section("Markov states", figures=[(image, "Stationary populations and reactive fluxes")]))
    return sections
