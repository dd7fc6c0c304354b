"""HTML from the templates of this folder: tables, lists, and the tables of an evaluation."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from latentmd.analysis.metric import Metric
from latentmd.report import tables


@cache
def environment() -> Environment:
    """Jinja's environment of the templates: everything is escaped, and a name that is missing is an error."""
    made = Environment(
        loader=PackageLoader("latentmd.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters["base64"] = lambda content: base64.b64encode(content).decode()
    return made


def _part(name: str, *arguments: Any) -> Markup:
    return Markup(getattr(environment().get_template("parts.html.j2").module, name)(*arguments))


def table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> Markup:
    """A table of text cells.

    Args:
        headings: of the columns.
        rows: as many cells each as there are headings.
    """
    return _part("table", list(headings), [list(row) for row in rows])


def bullets(sentences: Sequence[str]) -> Markup:
    """A list of sentences; empty where there are none."""
    return _part("bullets", list(sentences))


def metric_table(metrics: Sequence[Metric]) -> Markup:
    """Metrics as a table, one heading for each group that has any."""
    groups = [(group, [tables.columns(m) for m in metrics if m.group == group]) for group in tables.GROUPS]
    return _part("grouped_table", tables.HEADINGS, [(group, rows) for group, rows in groups if rows])


def baseline_table(metrics: Sequence[Metric], baselines: Mapping[str, Sequence[Metric]]) -> Markup:
    """Baselines beside the generated set.

    Args:
        metrics: of the generated set.
        baselines: metrics of each baseline by its name.
    """
    return table(["metric", "generated", *baselines, "reference or floor"], tables.baseline_columns(metrics, baselines))
