"""Results as one self-contained HTML page (tables, figures, a 3-D view, nothing loaded from elsewhere), and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from latentmd.io.atomic import write_text
from latentmd.report.markup import environment
from latentmd.report.viewer import View, view_data


class Section(NamedTuple):
    """A titled part of a page: an escaped paragraph, markup, and (PNG bytes, caption) of figures."""

    title: str
    text: str = ""
    body: str = ""
    figures: Sequence[tuple[bytes, str]] = ()


def page(title: str, lead: str, sections: Sequence[Section], view: View | None = None) -> str:
    """The page as HTML text; with a view it holds 3Dmol.js (Rego & Koes, Bioinformatics 31, 1322, 2015), 0.5 MB."""
    parts: dict[str, Any] = {"title": title, "lead": lead, "sections": sections, "molecule": None}
    parts |= {"library": "", "licence": ""}
    if view is not None:
        parts |= {"molecule": view_data(view), "library": _file("vendor/3Dmol-min.js")}
        parts["licence"] = _file("vendor/3Dmol-LICENSE.txt")
    style, viewer = _file("templates/page.css"), _file("templates/viewer.js")
    return environment().get_template("page.html.j2").render(style=style, viewer=viewer, **parts)


def _file(name: str) -> Markup:
    return Markup((files("latentmd.report") / name).read_text("utf-8"))


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section], view: View | None = None) -> None:
    """Write a `page` whole or not at all."""
    write_text(path, page(title, lead, sections, view))


def plain(value: Any) -> Any:
    """A value as JSON types; a number that is not finite becomes null, for JSON has none."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain({k: v for k, v in asdict(value).items() if v is not None and v != ""})
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (np.bool_, np.integer)):
        return value.item()
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping (dataclasses, arrays and paths too) as indented JSON, whole or not at all."""
    write_text(path, json.dumps(plain(content), indent=1, allow_nan=False) + "\n")
