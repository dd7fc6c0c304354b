"""evaluation.html of a run that `simulate` or `md` made, beside the reference stored with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.analysis import features, kinetics, statistics, thermodynamics
from latentmd.analysis.features import FeatureSet, FeatureSpec
from latentmd.analysis.metric import Metric
from latentmd.analysis.statistics import TORSION_PAIR_GRID
from latentmd.arrays import Floats
from latentmd.evaluation.inputs import run_record
from latentmd.molecule import checks as structure
from latentmd.report import figures
from latentmd.report import page as report
from latentmd.report.markup import metric_table
from latentmd.report.viewer import View

if TYPE_CHECKING:
    from latentmd.model.file import Reference

PAGE = "evaluation.html"
_SHORTEST = 20  # frames of a walker from which a correlation is worth drawing


def write_simulation_page(
    folder: Path,
    trajectories: Sequence[Path],
    reference: Reference | None,
    interval: float,
    temperature: float,
    *,
    title: str = "",
    seconds: float | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write evaluation.html into a run's folder: figures, structure checks and a 3-D view.

    Nothing here needs deeptime or torch, so that a simulation can afford it; `latentmd evaluate` compares a run with
    reference MD in full.

    Args:
        folder: with topology.pdb and provenance.csv.
        trajectories: of the walkers, each of two frames or more.
        reference: of the model's training data; None for plain MD.
        interval: ps between frames.
        temperature: kelvin.
        title: of the page; the folder's name where empty.
        seconds: wall time of the run, for effective samples per second.
        notes: lines on how far the model can be trusted, shown first.

    Returns:
        The path of the page.
    """
    topology, start = features.load_topology(folder / "topology.pdb")
    spec = features.feature_spec(topology)
    template = structure.structure_template(topology, start)
    own = features.read_set(trajectories, topology, spec, template, interval)
    counts = _reference_counts(reference, spec)
    metrics = _ramachandran_metrics(own, spec, counts, temperature) + _own_metrics(own, spec, seconds)
    energies = run_record(trajectories).energies
    bounds = None
    if reference is not None and reference.energy_quantiles is not None:
        bounds = (reference.energy_quantiles[0], reference.energy_quantiles[2])
    if energies is not None and bounds is not None:
        inside = thermodynamics.fraction_inside(energies, bounds)
        note = f"{bounds[0]:.1f} to {bounds[1]:.1f} kJ/mol; {len(energies)} frames that an engine moved or relaxed"
        metrics.append(Metric("frames in the training data's 0.1 to 99.9 % of energies", "energy", inside, note=note))
    lead = f"{own.frames:,} frames of {len(own.runs)} walker(s), {interval:g} ps apart, {temperature:g} K"
    beside = "Reference: the model's training data. " if reference is not None else ""
    text = f"{beside}Compare with reference MD in full: latentmd evaluate {title or folder.name} --reference ..."
    trust = [report.Section("How far to trust it", ". ".join(_sentence(note) for note in notes) + ".")] if notes else []
    sections = [*trust, report.Section("Metrics", text, metric_table(metrics)), *_drawn(own, spec, counts, temperature)]
    if energies is not None:
        image = figures.energies(None, energies, bounds)
        sections.append(report.Section("Energies", figures=[(image, "Potential energy of frames an engine moved")]))
    per_run = max(1, len(own.kept) // len(own.runs))
    times = interval * np.linspace(1, max(len(own.runs[0]), 1), per_run)
    view = View(topology, [("walker 0", own.kept[:per_run], times[: len(own.kept[:per_run])])])
    report.write_page(folder / PAGE, title or folder.name, lead, sections, view)
    return folder / PAGE


def _sentence(note: str) -> str:
    return note[:1].upper() + note[1:]


def _reference_counts(reference: Reference | None, spec: FeatureSpec) -> dict[tuple[int, int], Floats]:
    """Ramachandran counts of the training data for each (phi, psi) pair that the reference holds."""
    if reference is None:
        return {}
    stored = {r.residue: np.array(r.counts, dtype=np.float64) for r in reference.ramachandran}
    labels = {pair: spec.names[pair[0]].split()[1] for pair in spec.pairs}
    return {pair: stored[label] for pair, label in labels.items() if label in stored}


def _ramachandran_metrics(
    own: FeatureSet, spec: FeatureSpec, counts: Mapping[tuple[int, int], Floats], temperature: float
) -> list[Metric]:
    rows = []
    centres = -np.pi + (np.arange(TORSION_PAIR_GRID.bins) + 0.5) * 2 * np.pi / TORSION_PAIR_GRID.bins
    for pair, stored in counts.items():
        label = spec.names[pair[0]].split()[1]
        samples = np.concatenate([run[:, list(pair)] for run in own.runs])
        value = statistics.js_distance(TORSION_PAIR_GRID.counts(samples), stored)
        occupied = int(np.count_nonzero(stored))
        floor = statistics.analytic_floor(occupied, len(samples), float(stored.sum()))
        note = "floor: expected of as many independent samples"
        rows.append(Metric(f"JS distance, (phi, psi), {label}", "distribution", value, floor=floor, note=note))
        positive = stored[(centres > 0) & (centres < np.deg2rad(125.0))].sum() / stored.sum()
        inside = [(run[:, pair[0]] > 0) & (run[:, pair[0]] < np.deg2rad(125.0)) for run in own.runs]
        basin = thermodynamics.basin_free_energy(inside, temperature, np.random.default_rng(0))
        rows.append(Metric(f"population of phi > 0, {label}", "thermodynamics", basin.population, "", float(positive),
                           low=basin.population_low, high=basin.population_high))  # fmt: skip
    return rows


def _own_metrics(own: FeatureSet, spec: FeatureSpec, seconds: float | None) -> list[Metric]:
    totals = own.totals
    names = {"bonds": "bond lengths valid", "angles": "bond angles valid", "chirality": "stereocentres right",
             "isomer": "amides cis or trans as at the start", "clashes": "no clash"}  # fmt: skip
    rows = [Metric(f"frames, {label}", "structure", totals.passed[n] / totals.frames) for n, label in names.items()]
    rows.append(Metric("frames, all checks", "structure", totals.valid / totals.frames))
    if spec.kind == "torsions" and max(map(len, own.runs)) >= _SHORTEST:
        slowest = min(
            statistics.effective_samples([f(run[:, column]) for run in own.runs])
            for column in range(min(len(spec.names), 50))
            for f in (np.cos, np.sin)
        )
        rows.append(Metric("effective samples, slowest torsion", "sampling", slowest))
        if seconds:
            rows.append(Metric("effective samples per second of wall time", "sampling", slowest / seconds, "1/s"))
    return rows


def _drawn(
    own: FeatureSet, spec: FeatureSpec, counts: Mapping[tuple[int, int], Floats], temperature: float
) -> list[report.Section]:
    sections = []
    images = []
    for pair in spec.pairs[:4]:
        samples = TORSION_PAIR_GRID.counts(np.concatenate([run[:, list(pair)] for run in own.runs]))
        labels = (f"{spec.names[pair[0]]} (degrees)", f"{spec.names[pair[1]]} (degrees)")
        if pair in counts:
            bounds = figures.ramachandran_bounds()
            images.append((figures.surfaces(counts[pair], samples, bounds, labels, temperature), labels[0]))
        else:
            images.append((_surface(samples, labels, temperature), labels[0]))
    if images:
        sections.append(report.Section("Ramachandran surfaces", figures=images))
    if spec.kind == "torsions" and max(map(len, own.runs)) >= _SHORTEST:
        drawn = (_correlations(own, spec), "Torsions, baseline removed")
        sections.append(report.Section("Autocorrelations", figures=[drawn]))
    return sections


def _surface(counts: Floats, labels: tuple[str, str], temperature: float) -> bytes:
    made, axes = figures.figure(1, 1, width=3.6)
    surface = thermodynamics.free_energy_surface(counts, temperature)
    image: Any = axes[0].imshow(surface.T, origin="lower", extent=figures.ramachandran_bounds(), aspect="auto")
    made.colorbar(image, ax=axes[0]).set_label("kcal/mol")
    axes[0].set(xlabel=labels[0], ylabel=labels[1])
    return figures.png(made)


def _correlations(own: FeatureSet, spec: FeatureSpec) -> bytes:
    made, axes = figures.figure(1, 1, width=4.6)
    lag = max(2, max(map(len, own.runs)) // 4)
    for column, name in enumerate(spec.names[:6]):
        curve = kinetics.torsion_autocorrelation([run[:, column] for run in own.runs], lag)
        axes[0].plot(own.interval * np.arange(len(curve)), curve, lw=1.2, label=name)
    axes[0].set(xlabel="ps", ylabel="C(t)", ylim=(-0.2, 1.02))
    axes[0].legend(frameon=False, fontsize=8)
    return figures.png(made)
