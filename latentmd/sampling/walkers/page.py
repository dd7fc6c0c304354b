"""evaluation.html and report.png of a run of walkers, beside the reference stored with the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from latentmd.analysis import kinetics, statistics, thermodynamics
from latentmd.analysis.metric import SHARE, Metric
from latentmd.analysis.statistics import TORSION_PAIR_GRID
from latentmd.arrays import Floats
from latentmd.io.atomic import write_bytes
from latentmd.io.provenance import KINDS
from latentmd.model.manifest import ZeroShot
from latentmd.model.zero_shot import zero_shot_lines
from latentmd.molecule.checks import CLASH_DISTANCE, HYDROGEN_CLASH, MAX_Z, SEEN_CLASH
from latentmd.report import figures
from latentmd.report import page as report
from latentmd.report.markup import bullets, commands, metric_table, table
from latentmd.report.tables import cell
from latentmd.report.viewer import View
from latentmd.sampling.run.stopping import RunResult
from latentmd.sampling.walkers.run_frames import RunFrames
from latentmd.units import format_time, percent

RESIDUES = 12  # whose (phi, psi) planes are drawn
_SPREADS = 4  # of energies below the median that are shown above it
_TRACES = 6  # walkers drawn
_POINTS = 2000  # frames drawn per trace
_SLOWEST = 2  # torsions whose traces are drawn
_COLOURS = {"latent": "#4477aa", "settled": "#4477aa", "relaxed": "#b8860b", "md": "#ee6677"}
Panel = Callable[[Axes], None]
Sections = Sequence[report.Section]
_HISTOGRAMS = 40  # torsions drawn
_CURVES = 6  # torsions whose correlations are drawn
#: Structure checks by their names in provenance.csv: what is looked at, and the limit.
_CHECKS = {
    "finite": ("coordinates", "finite"),
    "bonds": ("bond lengths", f"within {MAX_Z:g} standard deviations of the reference"),
    "angles": ("bond angles", f"within {MAX_Z:g} standard deviations of the reference"),
    "chirality": ("stereocentres", "as at the start"),
    "isomer": ("amides", "cis or trans as at the start"),
    "data": ("slow axes", "no further from the training data than 99.9 % of held-out frames"),
    "energy": ("energy", "at most twice as far from MD's median as MD's 0.1 and 99.9 %"),
    "clashes": (
        "clashes",
        f"heavy atoms more than two bonds apart at least {CLASH_DISTANCE:g} nm from each other; hydrogens and atoms "
        f"more than three bonds away {HYDROGEN_CLASH:g} nm; of a model of trajectories whose force field is not known "
        f"{SEEN_CLASH:g} of the least distance that atoms of their elements have in its data",
    ),
}


def write_simulation_page(
    run: RunFrames, path: Path, *, trust: list[str], next_lines: list[str], seconds: float = 0.0, drawn: Sections = ()
) -> None:
    """Write evaluation.html of a run: how far to trust it, structure checks, metrics, figures and a 3-D view.

    The sentences of `trust` come first; effective samples are per second of wall time where `seconds` is not 0, and
    sections with figures (`pictures`), which take longest, are handed over as `drawn`. Nothing here needs deeptime or
    torch, so that a run can afford it.
    """
    frames, spacing = len(run.provenance["kind"]), np.diff(run.times[0])
    every = f", {np.median(spacing):g} ps apart" if len(spacing) else ""
    lead = f"{frames:,} frames of {len(run.runs)} walker(s){every}, {run.temperature:g} K"
    sentences = [sentence[:1].upper() + sentence[1:] for sentence in [*trust, *_known(run)]]
    beside = "Reference: MD that the model was trained on." if run.maps else ""
    rows = [*_ramachandran_metrics(run), *_energy_metrics(run), *_sampling_metrics(run, seconds)]
    sections = [
        report.Section("How far to trust it", body=bullets(sentences) + commands(next_lines)),
        report.Section("Structure checks", body=_checks(run)),
        *([report.Section("Metrics", beside, metric_table(rows))] if rows else []),
        *drawn,
    ]
    report.write_page(path, path.parent.name, lead, sections, View(run.topology, [("walker 0", *run.view)]))


def _known(run: RunFrames) -> list[str]:
    """How well the slowest torsion is known, in a sentence; nothing of short walkers."""
    if run.effective is None:
        return []
    column = run.slowest[0]
    count = float(run.effective[column])
    return [
        f"the slowest torsion, {figures.symbol(run.spec.names[column])}, has {count:.0f} effective samples: a share of "
        f"its states has a standard error of up to {percent(0.5 / np.sqrt(max(count, 1.0)))}"
    ]


def _checks(run: RunFrames) -> str:
    failed = run.provenance["checks_failed"]
    silent = ("finite", "data", *(["energy"] if run.bounds is None else []))  # unless a frame fails them
    names = [name for name in _CHECKS if name not in silent]
    names += sorted({name for text in np.unique(failed) for name in str(text).split()} - set(names))
    rows = []
    for name in names:
        what, limit = _CHECKS.get(name, (name, ""))
        passed = 1 - np.mean([name in str(text).split() for text in failed])
        rows.append((what, limit, cell(float(passed), SHARE)))
    rows.append(("all", "", cell(float(np.mean(failed == "")), SHARE)))
    return table(("check", "limit", "frames that pass"), rows)


def _ramachandran_metrics(run: RunFrames) -> list[Metric]:
    rows = []
    centres = -np.pi + (np.arange(TORSION_PAIR_GRID.bins) + 0.5) * 2 * np.pi / TORSION_PAIR_GRID.bins
    for pair, stored in run.maps.items():
        label, samples = run.residue(pair), run.values[:, list(pair)]
        value = statistics.js_distance(TORSION_PAIR_GRID.counts(samples), stored)
        floor = statistics.analytic_floor(int(np.count_nonzero(stored)), len(samples), float(stored.sum()))
        note = "floor: expected of as many independent samples"
        rows.append(Metric(f"JS distance, (φ, ψ), {label}", "distribution", value, floor=floor, note=note))
        positive = stored[(centres > 0) & (centres < np.deg2rad(125.0))].sum() / stored.sum()
        inside = [(values[:, pair[0]] > 0) & (values[:, pair[0]] < np.deg2rad(125.0)) for values in run.runs]
        population, _ = thermodynamics.basin_free_energy(inside, run.temperature, np.random.default_rng(0))
        rows.append(Metric(f"population of 0 < φ < 125°, {label}", "thermodynamics", population.value, SHARE,
                           float(positive), low=population.low, high=population.high))  # fmt: skip
    return rows


def _energy_metrics(run: RunFrames) -> list[Metric]:
    """Shares of frames inside the training data's range of energies, by how the frames were made."""
    if run.bounds is None:
        return []
    kinds, values = run.provenance["kind"], run.provenance["potential_energy"]
    rows = []
    for kind in np.unique(kinds):
        part = values[(kinds == kind) & np.isfinite(values)]
        inside = thermodynamics.fraction_inside(part, run.bounds)
        note = f"{run.bounds[0]:.1f} to {run.bounds[1]:.1f} kJ/mol, MD's 0.1 to 99.9 %"
        name = f"energies inside MD's range, {len(part):,} {kind} frames"
        rows.append(Metric(name, "energy", inside, SHARE, 0.998, note=note))
    return rows


def _sampling_metrics(run: RunFrames, seconds: float) -> list[Metric]:
    if run.effective is None:
        return []
    least = float(run.effective.min())
    rows = [Metric("effective samples, slowest torsion", "sampling", least)]
    if seconds:
        rows.append(Metric("effective samples per second of wall time", "sampling", least / seconds, "1/s"))
    return rows


def pictures(run: RunFrames) -> list[report.Section]:
    """Sections of what was sampled, of energies and times, and of torsions."""
    drawn = [(_alone(panel), "") for panel in sampled(run)]
    left = len(run.spec.pairs) - RESIDUES
    text = f"The first {RESIDUES} residues; {left} more are not drawn." if left > 0 else ""
    sections = [report.Section("What was sampled", text, figures=drawn)]
    moving = []
    if run.has_energies:
        moving = [(_alone(lambda axis: energies(axis, run), 5.0), "Potential energy by kind of frame")]
    if run.effective is not None:
        moving.append((_correlations(run), "Autocorrelations of the slowest torsions, baseline removed"))
    sections.append(report.Section("Energies and times", figures=moving))
    if run.spec.kind == "torsions" and len(run.spec.names) > 1:
        sections.append(report.Section("Torsions", figures=[(_histograms(run), "Densities of this run")]))
    return sections


def _alone(panel: Panel, width: float = 4.0) -> bytes:
    made, axes = figures.figure(1, 1, width=width, height=3.3)
    panel(axes[0])
    return figures.png(made)


def _histograms(run: RunFrames) -> bytes:
    made, axes = figures.panels(min(len(run.spec.names), _HISTOGRAMS), 5, width=2.0, height=1.7)
    for column, axis in enumerate(axes):
        histogram(axis, run, column)
    return figures.png(made)


def _correlations(run: RunFrames) -> bytes:
    made, axes = figures.figure(1, 1, width=5.0, height=3.3)
    lag = max(2, max(map(len, run.runs)) // 4)
    interval = float(np.median(np.diff(run.times[0])))
    for column in run.slowest[:_CURVES]:
        curve: Floats = kinetics.torsion_autocorrelation([values[:, column] for values in run.runs], lag)
        axes[0].plot(interval * np.arange(len(curve)), curve, lw=1.2, label=figures.symbol(run.spec.names[column]))
    axes[0].set(xlabel="ps", ylabel="C(t)", ylim=(-0.2, 1.02))
    axes[0].legend(frameon=False, fontsize=8)
    return figures.png(made)


def write_report(run: RunFrames, path: Path) -> None:
    """Draw report.png of a run: (phi, psi) of each residue beside the training data, energies, slowest torsions."""
    panels = sampled(run)
    across = 2 if len(panels) <= 2 else 4
    rows = -(-len(panels) // across)
    made, axes = figures.grid([[3.2] * rows + [3.6], [4.2 if across == 2 else 3.4] * across], len(panels), _SLOWEST)
    for panel, axis in zip(panels, axes[: len(panels)], strict=True):
        panel(axis)
    if run.has_energies:
        energies(axes[len(panels)], run)
    else:
        histogram(axes[len(panels)], run, run.slowest[0])
    traces(axes[len(panels) + 1 :], run)
    write_bytes(path, figures.png(made, dpi=130))


def sampled(run: RunFrames) -> list[Panel]:
    """Panels of what was sampled: of each residue this run, and its training data where known; else a histogram."""
    panels: list[Panel] = []
    for pair in run.spec.pairs[:RESIDUES]:
        counts = TORSION_PAIR_GRID.counts(run.values[:, list(pair)])
        name = run.residue(pair)
        panels.append(_panel(run, counts, f"{name}, this run"))
        if pair in run.maps:
            panels.append(_panel(run, run.maps[pair], f"{name}, training MD"))
    if not panels:
        panels.append(lambda axis: histogram(axis, run, 0))
    if len(panels) == 1 and run.has_energies:
        panels.append(lambda axis: energy_histogram(axis, run))
    return panels


def _panel(run: RunFrames, counts: Floats, title: str) -> Panel:
    return lambda axis: figures.plane(axis, counts, (title, "φ / degrees", "ψ / degrees"), run.temperature)


def histogram(axis: Axes, run: RunFrames, column: int) -> None:
    """Density of one torsion in degrees, or of a distance in nm."""
    values, unit = _shown(run, run.values[:, column])
    angle = unit == "degrees"
    axis.hist(values, bins=72, range=(-180, 180) if angle else None, density=True, color=_COLOURS["latent"])
    if angle:
        figures.degrees(axis, y=False)
    axis.set(title=figures.symbol(run.spec.names[column]), xlabel=unit, yticks=[])


def energy_histogram(axis: Axes, run: RunFrames) -> None:
    """Density of potential energies by kind of frame."""
    kinds, values = run.provenance["kind"], run.provenance["potential_energy"]
    limits = energy_limits(values, run.bounds)
    for kind in KINDS:
        part = values[kinds == kind]
        if len(part):
            axis.hist(part, bins=60, range=limits, density=True, histtype="step", color=_COLOURS[kind], label=kind)
    axis.set(title="energies by kind of frame", xlabel="kJ/mol", yticks=[])
    axis.legend(frameon=False)


def energies(axis: Axes, run: RunFrames) -> None:
    """Potential energy of all frames over time by kind, and the range of the training data's energies."""
    times, values, kinds = (run.provenance[name] for name in ("time_ps", "potential_energy", "kind"))
    step = max(1, len(times) // 20_000)
    scale, unit = _time_scale(times)
    for kind in KINDS:
        mask = kinds == kind
        mask[np.arange(len(mask)) % step != 0] = False
        if mask.any():
            axis.plot(times[mask] / scale, values[mask], ".", ms=3, alpha=0.6, color=_COLOURS[kind], label=kind)
    if run.bounds is not None:
        axis.axhspan(*run.bounds, color="0.9", zorder=0, label="MD, 0.1 to 99.9 %")
    low, high = energy_limits(values, run.bounds)
    above = int((values > high).sum())
    title = f"potential energy; {above:,} frames are higher" if above else "potential energy of all frames"
    axis.set(title=title, xlabel=unit, ylabel="kJ/mol", ylim=(low, high))
    axis.legend(loc="upper right", markerscale=2, ncols=2, fontsize=8, edgecolor="none", framealpha=0.9)


def energy_limits(values: Floats, bounds: tuple[float, float] | None) -> tuple[float, float]:
    """Range of energies in kJ/mol to show: those of MD, however high the clashes of frames that no MD has relaxed."""
    low, lowest, median, high = np.quantile(values, [0.0, 0.01, 0.5, 0.995])
    high = min(high, median + _SPREADS * (median - lowest))
    if bounds is not None:
        low, high = min(low, bounds[0]), max(high, bounds[1])
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + 4 * margin)


def traces(axes: list[Axes], run: RunFrames) -> None:
    """The slowest coordinates over time of the first walkers, one on each axis; axes that are left are hidden."""
    scale, unit = _time_scale(np.concatenate(run.times))
    columns = sorted(run.slowest[: len(axes)])
    for axis in axes[len(columns) :]:
        axis.set_axis_off()
    for axis, column in zip(axes, columns, strict=False):
        for times, values in list(zip(run.times, run.runs, strict=True))[:_TRACES]:
            step = max(1, len(times) // _POINTS)
            shown, kind = _shown(run, values[::step, column])
            axis.plot(times[::step] / scale, shown, "." if kind == "degrees" else "-", ms=2.5, lw=0.7)
        if kind == "degrees":
            figures.degrees(axis, x=False)
        axis.set_ylabel(f"{figures.symbol(run.spec.names[column])}\n{kind}")
        axis.tick_params(labelbottom=column == columns[-1])
    what = "slowest torsions" if len(run.spec.names) > len(columns) else "over time"
    walkers = f"walkers 0 to {_TRACES - 1}" if len(run.runs) > _TRACES else "all walkers"
    axes[0].set_title(f"{what}, {walkers}")
    axes[len(columns) - 1].set_xlabel(unit)


def _shown(run: RunFrames, values: Floats) -> tuple[Floats, str]:
    return (np.degrees(values), "degrees") if run.spec.kind == "torsions" else (values, "nm")


def _time_scale(times: Floats) -> tuple[float, str]:
    return (1000.0, "ns") if len(times) and float(np.max(times)) > 2000 else (1.0, "ps")


def speed_line(speed: dict[str, float]) -> str:
    """Speed of a run over the fastest plain MD on the same cores, and over the other one, in one line."""
    rates = {"OpenMM": (speed["over_plain_md"], speed["plain_md_ns_per_day"])}
    if "over_replica_engine" in speed:
        rates["the replica engine"] = (speed["over_replica_engine"], speed["replica_engine_ns_per_day"])
    (name, (ratio, rate)), *others = sorted(rates.items(), key=lambda item: item[1])
    start_up = speed["over_plain_md_with_start_up"] * ratio / speed["over_plain_md"]
    beside = "".join(f"; {other:,.1f} times that with {engine}" for engine, (other, _) in others)
    return (
        f"{ratio:,.1f} times the speed of plain MD on the same cores with {name} ({rate:,.0f} ns/day; {start_up:,.1f} "
        f"times with start-up{beside})"
    )


def told(result: RunResult) -> list[str]:
    """A few lines about a finished run."""
    summary, frames = result.summary, sum(result.summary["frames"])
    simulated, wall = format_time(summary["simulated_ps"]), summary["wall_seconds"]["total"]
    lines = [f"{summary['walkers']} walkers, {simulated} in all, {frames:,} frames, in {wall:.1f} s"]
    if added := summary["added_atoms"]:
        shown = ", ".join(added[:6]) + (f" and {len(added) - 6} more" if len(added) > 6 else "")
        lines.append(f"the PDB file lacked, and got: {shown}")
    if "over_plain_md" in summary["speed"]:
        lines.append(speed_line(summary["speed"]))
    lines += [*result.failing, *summary["notes"]]
    if (record := (summary["model"] or {}).get("zero_shot")) is not None:
        sound = 1 - summary["frames_failing_checks"] / frames if frames else None
        lines += zero_shot_lines(ZeroShot.model_validate(record), summary["molecule"], sound)
    page = ", evaluation.html" if (result.folder / "evaluation.html").exists() else ""
    files = f"{len(result.trajectories)} trajectories, provenance.csv, summary.json, report.png{page}"
    return [*lines, f"wrote {result.folder}/: {files}"]
