"""HTML from the templates of this folder: tables, lists, and the tables of an evaluation."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from latentmd.analysis.metric import Metric
from latentmd.report import tables

WIDE = 700  # pixels of a figure that gets a row of its own


@cache
def environment() -> Environment:
    """Jinja's environment of the templates: everything is escaped, and a name that is missing is an error."""
    made = Environment(loader=PackageLoader("latentmd.report"), autoescape=True, undefined=StrictUndefined)
    made.trim_blocks = made.lstrip_blocks = True
    made.filters["code"] = lambda text: Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))
    made.filters["base64"] = lambda content: base64.b64encode(content).decode()
    made.filters["wide"] = lambda content: int.from_bytes(content[16:20]) > WIDE  # the width of a PNG is there
    return made


def _part(name: str, *arguments: Any) -> Markup:
    return Markup(getattr(environment().get_template("parts.html.j2").module, name)(*arguments))


def table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> Markup:
    """A table of text cells, as many in each row as there are headings."""
    return _part("table", list(headings), [list(row) for row in rows])


def bullets(sentences: Sequence[str]) -> Markup:
    """A list of sentences, in which backticks mark code; empty where there are none."""
    return _part("bullets", list(sentences))


def commands(lines: Sequence[str]) -> Markup:
    """Lines to type, which a click selects; empty where there are none."""
    return _part("commands", list(lines))


def metric_table(metrics: Sequence[Metric]) -> Markup:
    """Metrics as a table, one heading for each group that has any; columns that would be empty are left out."""
    rows = [(m.group, tables.columns(m)) for m in metrics]
    filled = [i for i in range(len(tables.HEADINGS)) if any(cells[i] for _, cells in rows)]
    groups = [(name, [[cells[i] for i in filled] for group, cells in rows if group == name]) for name in tables.GROUPS]
    headings = list(tables.HEADINGS)
    if not any(m.floor_effective is not None or m.floor_independent is not None for m in metrics):
        headings[tables.FLOOR] = "floor"
    return _part("grouped_table", [headings[i] for i in filled], [group for group in groups if group[1]])


def baseline_table(metrics: Sequence[Metric], baselines: Mapping[str, Sequence[Metric]]) -> Markup:
    """The metrics of a generated set beside those of each baseline by its name."""
    return table(["metric", "generated", *baselines, "reference or floor"], tables.baseline_columns(metrics, baselines))
