"""Metrics as cells of tables, and the tables of an evaluation on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from latentmd.analysis.metric import SHARE, Metric
from latentmd.units import percent

_BASELINES_PER_TABLE = 3  # fits a terminal of 80 columns
GROUPS: tuple[str, ...] = ("distribution", "thermodynamics", "kinetics", "sampling", "structure", "shape", "energy")
GROUPS += ("model", "representation")


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
    floors = (("", metric.floor, ""), (" (", metric.floor_effective, ")"), (" [", metric.floor_independent, "]"))
    floor = "".join(f"{a}{number(value)}{b}" for a, value, b in floors if value is not None)
    mean, spread, each = seed_summary(metric)
    seeds = f"seeds {each}: mean {mean}{spread and f', {spread}'}" if mean else ""
    return (
        metric.name, cell(metric.value, metric.unit) + unit, interval(metric.low, metric.high, metric.unit),
        cell(metric.reference, metric.unit) if metric.reference is not None else "",
        interval(metric.reference_low, metric.reference_high, metric.unit), floor,
        "; ".join(filter(None, (metric.note, seeds))),
    )  # fmt: skip


_FLOORS = "floor (at effective samples) [independent]"
HEADINGS = ("metric", "generated", "95 % interval", "reference", "95 % interval", _FLOORS, "note")
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
    """Whether a baseline is as close to the reference (or to zero, of an error), or has as many effective samples."""
    if metric.group == "sampling":
        return baseline >= metric.value
    if not (math.isfinite(metric.value) and math.isfinite(baseline)):
        return math.isfinite(baseline)
    target = metric.reference if metric.reference is not None and math.isfinite(metric.reference) else 0.0
    return abs(baseline - target) <= abs(metric.value - target)


def listing(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str]] = (), left: int = 1, **more: Any
) -> Table:
    """A table for the terminal, its first columns to the left, with further options of all of them."""
    made = Table(title=title, title_justify="left")
    for index, heading in enumerate(headings):
        made.add_column(heading, justify="left" if index < left else "right", **more)
    for row in rows:
        made.add_row(*row)
    return made


def seed_summary(metric: Metric) -> tuple[str, str, str]:
    """Mean over seeds, the 95 % interval of that mean (Student's t; none where a value is not finite), every value."""
    if not metric.seeds or len(metric.seeds) < 2:
        return "", "", ""
    from scipy.stats import t

    values = np.array(metric.seeds, dtype=np.float64)
    mean, each = float(values.mean()), ", ".join(cell(v, metric.unit) for v in metric.seeds)
    if not np.isfinite(values).all():
        return cell(mean, metric.unit), "", each
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return cell(mean, metric.unit), interval(mean - half, mean + half, metric.unit), each


def print_tables(
    title: str, metrics: Sequence[Metric], baselines: Mapping[str, Sequence[Metric]], notes: Sequence[str]
) -> None:
    """Print an evaluation: value and 95 % interval, reference, floors, seeds, the baselines, and notes."""
    console = Console()
    main = listing(title, ("metric", "generated", "reference", "floor"), overflow="fold")
    for group in GROUPS:
        found = [columns(m) for m in metrics if m.group == group]
        for name, value, own, reference, spread, floor, _ in found:
            main.add_row(name, f"{value}\n{own}".strip(), f"{reference}\n{spread}".strip(), floor.replace(" ", "\n"))
        if found:
            main.add_section()
    console.print(main)
    seeded = [(m.name, *seed_summary(m)) for m in metrics if m.seeds]
    if seeded:
        heading = "Seeds of the rollouts (interval of the mean: Student's t)"
        console.print(listing(heading, ("metric", "mean", "95 % interval", "each seed"), seeded, overflow="fold"))
    for start in range(0, len(baselines), _BASELINES_PER_TABLE):
        part = dict(list(baselines.items())[start : start + _BASELINES_PER_TABLE])
        heading = 'Baselines ("=" does at least as well as the generated set)'
        headings, rows = ["metric", "generated", *part, "reference or floor"], baseline_columns(metrics, part)
        console.print(listing(heading, headings, rows, overflow="fold", min_width=7))
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False)
