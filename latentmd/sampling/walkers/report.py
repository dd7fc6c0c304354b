"""report.png of a run, and the panels that the run's page shows too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latentmd.analysis.statistics import TORSION_PAIR_GRID
from latentmd.arrays import Floats
from latentmd.io.atomic import write_bytes
from latentmd.io.provenance import KINDS
from latentmd.report import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from latentmd.sampling.walkers.run_frames import RunFrames

RESIDUES = 12  # whose (phi, psi) planes are drawn
_SPREADS = 4  # of energies below the median that are shown above it
_TRACES = 6  # walkers drawn
_POINTS = 2000  # frames drawn per trace
_SLOWEST = 2  # torsions whose traces are drawn
_COLOURS = {"latent": "#4477aa", "settled": "#4477aa", "relaxed": "#b8860b", "md": "#ee6677"}
Panel = Callable[["Axes"], None]


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
