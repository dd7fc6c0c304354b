"""One self-contained HTML page: tables, figures and a 3-D view, with nothing loaded from anywhere else."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.analysis.metric import Metric
from latentmd.arrays import Floats
from latentmd.molecule import checks as structure
from latentmd.report import tables as record

VIEW_FRAMES = 150
_ALL_ATOMS = 400  # molecules with more atoms are shown as their backbone, larger still as the trace of CA atoms
_BACKBONE = ("N", "CA", "C", "O", "CH3")


@dataclass(frozen=True)
class View:
    """What the 3-D view shows.

    Attributes:
        topology: mdtraj or OpenMM topology.
        sets: (name, positions (frames, atoms, 3) in nm, times (frames,) in ps) of each set to choose from.
    """

    topology: Any
    sets: Sequence[tuple[str, Floats, Floats]]


@dataclass(frozen=True)
class Section:
    """A titled part of the page: a paragraph, HTML, and figures as (PNG bytes, caption)."""

    title: str
    text: str = ""
    body: str = ""
    figures: Sequence[tuple[bytes, str]] = ()


def page(title: str, lead: str, sections: Sequence[Section], view: View | None = None) -> str:
    """The page as HTML text.

    Args:
        title: heading.
        lead: one line below it.
        sections: in order; the 3-D view comes first.
        view: molecule to show.
    """
    folder = files("latentmd.report")
    parts = [f"<h1>{html.escape(title)}</h1>", f'<p class="lead">{html.escape(lead)}</p>']
    script = ""
    if view is not None:
        parts.append(_viewer(view))
        script = f"<script>{(folder / 'viewer.js').read_text('utf-8')}</script>"
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        if section.text:
            parts.append(f"<p>{html.escape(section.text)}</p>")
        parts.append(section.body)
        parts += [_figure(image, caption) for image, caption in section.figures]
    style = (folder / "page.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + f"\n</main>{script}</body></html>\n"
    )


def _figure(image: bytes, caption: str) -> str:
    data = base64.b64encode(image).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def metric_table(metrics: Sequence[Metric]) -> str:
    """Metrics as an HTML table, grouped."""
    heads = "".join(f"<th>{html.escape(h)}</th>" for h in record.HEADINGS)
    rows = []
    for group in record.GROUPS:
        members = [m for m in metrics if m.group == group]
        if members:
            rows.append(f'<tr class="group"><td colspan="{len(record.HEADINGS)}">{group}</td></tr>')
        for metric in members:
            cells = [html.escape(c) for c in record.columns(metric)]
            marked = [f'<td class="value">{c}</td>' if i == 1 else f"<td>{c}</td>" for i, c in enumerate(cells)]
            rows.append(f"<tr>{''.join(marked)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def baseline_table(metrics: Sequence[Metric], baselines: Mapping[str, Sequence[Metric]]) -> str:
    """Baselines as an HTML table beside the generated set."""
    heads = "".join(f"<th>{html.escape(h)}</th>" for h in ["metric", "generated", *baselines, "reference or floor"])
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
        for row in record.baseline_columns(metrics, baselines)
    )
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def notes_list(notes: Sequence[str]) -> str:
    """Notes as an HTML list; empty text where there are none."""
    return f'<ul class="notes">{"".join(f"<li>{html.escape(n)}</li>" for n in notes)}</ul>' if notes else ""


def _viewer(view: View) -> str:
    symbols, bonds = structure.topology_arrays(view.topology)
    atoms = _shown_atoms(view.topology, symbols)
    index = {int(a): i for i, a in enumerate(atoms)}
    links = [[index[int(i)], index[int(j)]] for i, j in bonds if int(i) in index and int(j) in index]
    trace = len(symbols) > _ALL_ATOMS and len(links) < len(atoms) // 2
    if trace:
        links = [[i, i + 1] for i in range(len(atoms) - 1) if _near(view.sets[0][1][0], atoms[i], atoms[i + 1])]
    sets = [_packed(name, frames[:, atoms], times) for name, frames, times in view.sets]
    data = {"elements": [symbols[i] for i in atoms], "bonds": links, "trace": trace, "sets": sets}
    text = json.dumps(data).replace("<", "\\u003c")
    return (
        '<div class="viewer"><canvas tabindex="0" aria-label="Molecule, drag to rotate, wheel to zoom, space to play">'
        '</canvas><div class="controls"><button type="button">Play</button><select aria-label="trajectory"></select>'
        '<input type="range" min="0" value="0" aria-label="frame"><output></output></div>'
        f'<script type="application/json">{text}</script></div>'
    )


def _shown_atoms(topology: Any, symbols: Sequence[str]) -> list[int]:
    if len(symbols) <= _ALL_ATOMS:
        return list(range(len(symbols)))
    atoms = list(topology.atoms() if callable(topology.atoms) else topology.atoms)
    backbone = [i for i, atom in enumerate(atoms) if atom.name in _BACKBONE]
    if len(backbone) > 2 * _ALL_ATOMS:
        backbone = [i for i in backbone if atoms[i].name == "CA"]
    return backbone or [i for i, symbol in enumerate(symbols) if symbol != "H"][: 2 * _ALL_ATOMS]


def _near(frame: Floats, i: int, j: int) -> bool:
    return float(np.linalg.norm(frame[i] - frame[j])) < 0.45


def _packed(name: str, frames: Floats, times: Floats) -> dict[str, Any]:
    """Up to 150 frames, aligned to the first, in whole picometres as base64 of 16-bit integers."""
    pick = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), VIEW_FRAMES)).astype(int))
    aligned = align(np.asarray(frames[pick], dtype=np.float64))
    values = np.clip(np.round(1000 * aligned), -32767, 32767).astype("<i2")
    return {
        "name": name, "frames": len(pick), "times": [round(float(t), 3) for t in np.asarray(times)[pick]],
        "coordinates": base64.b64encode(values.tobytes()).decode(),
    }  # fmt: skip


def align(frames: Floats) -> Floats:
    """Frames turned and moved onto the first by the best proper rotation (Kabsch 1976), centred; nm."""
    centred = frames - frames.mean(axis=1, keepdims=True)
    u, _, vt = np.linalg.svd(np.einsum("fai,aj->fij", centred, centred[0]))
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    return np.asarray(np.einsum("fai,fij->faj", centred, u @ vt))


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section], view: View | None = None) -> None:
    """Write the page whole or not at all."""
    record.write_text(path, page(title, lead, sections, view))
