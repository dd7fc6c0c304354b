"""Metrics as cells of tables, and the tables of an evaluation on the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from latentmd.analysis.metric import SHARE, Metric
from latentmd.units import percent

if TYPE_CHECKING:
    from rich.table import Table

_BASELINES_PER_TABLE = 3  # fits a terminal of 80 columns
GROUPS = ("distribution", "thermodynamics", "kinetics", "sampling", "structure", "energy", "model", "representation")


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table: few digits, "∞" and "–" for what is infinite or undefined."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value != 0 and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.{digits - 1}e}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def cell(value: float | None, unit: str = "") -> str:
    """A value for a table: a number, or per cent where the unit is that of shares."""
    if unit != SHARE or value is None or not math.isfinite(value):
        return number(value)
    rest = min(value, 1 - value)
    return percent(value) if rest == 0 else percent(value, 1 if rest >= 1e-3 else 3)


def interval(low: float | None, high: float | None, unit: str = "") -> str:
    """A 95 % interval for a table; empty where there is none."""
    if low is None or high is None or (math.isnan(low) and math.isnan(high)):
        return ""
    return f"{cell(low, unit)} to {cell(high, unit)}"


def columns(metric: Metric) -> tuple[str, str, str, str, str, str, str]:
    """A metric as table cells: name, value, interval, reference, its interval, floor, note."""
    unit = f" {metric.unit}" if metric.unit not in ("", SHARE) else ""
    floor = number(metric.floor) if metric.floor is not None else ""
    if metric.floor_effective is not None:
        floor += f" ({number(metric.floor_effective)})"
    if metric.floor_independent is not None:
        floor += f" [{number(metric.floor_independent)}]"
    mean, spread, each = seed_summary(metric)
    note = (
        metric.note
        + ("; " if metric.note and mean else "")
        + (f"seeds {each}: mean {mean}{spread and f', {spread}'}" if mean else "")
    )
    return (
        metric.name, cell(metric.value, metric.unit) + unit, interval(metric.low, metric.high, metric.unit),
        cell(metric.reference, metric.unit) if metric.reference is not None else "",
        interval(metric.reference_low, metric.reference_high, metric.unit), floor, note,
    )  # fmt: skip


HEADINGS = (
    "metric", "generated", "95 % interval", "reference", "95 % interval", "floor (at effective samples) [independent]",
    "note",
)  # fmt: skip
FLOOR = 5  # of these columns


def baseline_columns(metrics: Sequence[Metric], baselines: Mapping[str, Sequence[Metric]]) -> list[list[str]]:
    """Rows of the baseline table: a metric, its value in the generated set, in each baseline and in the reference."""
    rows = []
    for metric in metrics:
        values = [next((m.value for m in b if m.name == metric.name), None) for b in baselines.values()]
        if any(v is not None for v in values):
            mark = [f"{cell(v, metric.unit)}{' =' if v is not None and matches(metric, v) else ''}" for v in values]
            target = metric.reference if metric.reference is not None else metric.floor
            unit = f" ({metric.unit})" if metric.unit not in ("", SHARE) else ""
            rows.append([metric.name + unit, cell(metric.value, metric.unit), *mark, cell(target, metric.unit)])
    return rows


def matches(metric: Metric, baseline: float) -> bool:
    """Whether a baseline does as well as the generated set: at least as close to the reference (to zero where
    the metric is an error), or as many effective samples."""
    if metric.group == "sampling":
        return baseline >= metric.value
    if not (math.isfinite(metric.value) and math.isfinite(baseline)):
        return math.isfinite(baseline)
    target = metric.reference if metric.reference is not None and math.isfinite(metric.reference) else 0.0
    return abs(baseline - target) <= abs(metric.value - target)


def _joined(value: str, spread: str) -> str:
    return f"{value}\n{spread}" if spread else value


def seed_summary(metric: Metric) -> tuple[str, str, str]:
    """Mean over seeds, the 95 % interval of that mean (Student's t), and every value; empty without seeds.

    No interval where a value is not finite, as a first-passage time without a transition.
    """
    if not metric.seeds or len(metric.seeds) < 2:
        return "", "", ""
    from scipy.stats import t

    values = np.array(metric.seeds, dtype=np.float64)
    mean, each = float(values.mean()), ", ".join(cell(v, metric.unit) for v in metric.seeds)
    if not np.isfinite(values).all():
        return cell(mean, metric.unit), "", each
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return cell(mean, metric.unit), interval(mean - half, mean + half, metric.unit), each


def _seed_table(metrics: Sequence[Metric]) -> Table:
    from rich.table import Table

    made = Table(title="Seeds of the rollouts (interval of the mean: Student's t)", title_justify="left")
    for index, heading in enumerate(("metric", "mean", "95 % interval", "each seed")):
        made.add_column(heading, justify="right" if index else "left", overflow="fold")
    for metric in metrics:
        if metric.seeds:
            made.add_row(metric.name, *seed_summary(metric))
    return made


def print_tables(
    title: str, metrics: Sequence[Metric], baselines: Mapping[str, Sequence[Metric]], notes: Sequence[str]
) -> None:
    """Print an evaluation: value and 95 % interval, reference, floors, seeds, the baselines, and notes."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    main = Table(title=title, title_justify="left")
    for index, heading in enumerate(("metric", "generated", "reference", "floor")):
        main.add_column(heading, justify="right" if index else "left", overflow="fold")
    for group in GROUPS:
        rows = [m for m in metrics if m.group == group]
        for row in rows:
            name, value, own, reference, spread, floor, _ = columns(row)
            main.add_row(name, _joined(value, own), _joined(reference, spread), floor.replace(" ", "\n"))
        if rows:
            main.add_section()
    console.print(main)
    if any(m.seeds for m in metrics):
        console.print(_seed_table(metrics))
    names = list(baselines)
    for start in range(0, len(names), _BASELINES_PER_TABLE):
        part = {name: baselines[name] for name in names[start : start + _BASELINES_PER_TABLE]}
        other = Table(title='Baselines ("=" does at least as well as the generated set)', title_justify="left")
        for index, column in enumerate(["metric", "generated", *part, "reference or floor"]):
            other.add_column(column, justify="right" if index else "left", overflow="fold", min_width=7)
        for cells in baseline_columns(metrics, part):
            other.add_row(*cells)
        console.print(other)
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False)
