"""One self-contained HTML page: tables, figures and a 3-D view, with nothing loaded from anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

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
    template = environment().get_template("page.html.j2")
    return template.render(
        title=title, lead=lead, sections=sections, style=_file("templates/page.css"),
        molecule=None if view is None else view_data(view), viewer=_file("templates/viewer.js"),
        library=_file("vendor/3Dmol-min.js") if view else "", licence=_file("vendor/3Dmol-LICENSE.txt") if view else "",
    )  # fmt: skip


def _file(name: str) -> Markup:
    return Markup((files("latentmd.report") / name).read_text("utf-8"))


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section], view: View | None = None) -> None:
    """Write a `page` whole or not at all."""
    write_text(path, page(title, lead, sections, view))
