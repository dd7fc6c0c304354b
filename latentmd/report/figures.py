"""Figures of an evaluation as PNG bytes: surfaces, histograms, timescales, correlations, states, energies."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.analysis import thermodynamics
from latentmd.analysis.metric import Document
from latentmd.analysis.msm import ChapmanKolmogorov, ImpliedTimescales
from latentmd.analysis.statistics import TORSION_GRID, TORSION_PAIR_GRID
from latentmd.arrays import Floats
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.chemistry import FileTopology, parts_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

Bounds = tuple[float, float, float, float]  # left, right, bottom, top
REFERENCE, GENERATED = "#4a5568", "#c2410c"
COLOURS = {"training": "#9aa5b1", "reference": REFERENCE, "generated": GENERATED}  # of sets
_ELEMENTS = {"C": "#555555", "N": "#3050f8", "O": "#e0301e", "S": "#c8a800", "P": "#ff8000"}
_TRACE, _LEAST_TRACE = ("N", "CA", "C"), 5  # atoms of the backbone that is drawn of chains of so many residues
_STYLE: dict[Any, Any] = dict.fromkeys(("axes.spines.top", "axes.spines.right"), False)
_STYLE |= {"font.size": 9, "axes.titlesize": 10, "figure.constrained_layout.use": True}
_MAX_PANELS = 40  # histograms
_HIGHEST = 6.0  # kcal/mol, of free-energy surfaces
_SIGNS = {"phi": "φ", "psi": "ψ", "chi": "χ"}


def figure(rows: int, columns: int, width: float = 3.1, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """A figure outside pyplot's global state and its axes in reading order, of so many inches each."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        made = Figure(figsize=(width * columns, height * rows))
        axes = made.subplots(rows, columns, squeeze=False)
    return made, list(axes.ravel())


def panels(count: int, columns: int, width: float = 3.1, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, in rows of so many at the most; the last row may end early."""
    made, axes = figure(-(-count // columns), min(count, columns), width, height)
    for axis in axes[count:]:
        axis.set_axis_off()
    return made, axes[:count]


def grid(sizes: Sequence[Sequence[float]], above: int, below: int) -> tuple[Figure, list[Axes]]:
    """Panels in rows of `sizes` (heights, widths) in inches; in the last row a wide one beside `below` flat ones."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    heights, widths = sizes
    with rc_context(_STYLE | {"font.size": 10, "axes.titlesize": 11}):
        made = Figure(figsize=(sum(widths), sum(heights)))
        made.set_layout_engine("constrained", w_pad=0.12)
        places = made.add_gridspec(len(heights), len(widths), height_ratios=heights)
        axes = [made.add_subplot(places[i // len(widths), i % len(widths)]) for i in range(above)]
        half = len(widths) // 2
        axes.append(made.add_subplot(places[-1, :half]))
        flat = places[-1, half:].subgridspec(below, 1)
        axes += [made.add_subplot(flat[row, 0]) for row in range(below)]
    return made, axes


def png(made: Figure, dpi: int = 110) -> bytes:
    """The figure as PNG."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context(_STYLE):
        made.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def umap_plane(points: Floats, seed: int) -> Floats | None:
    """Points (frames, axes) in the plane (frames, 2) by UMAP; None where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap's about packages that it does without
        try:
            from umap import UMAP
        except ImportError:  # also where an uninstalled one has left a folder with its cache
            return None
        return np.asarray(UMAP(n_components=2, random_state=seed, n_jobs=1).fit_transform(points))


def plane(axis: Axes, counts: Floats, titles: tuple[str, str, str], temperature: float) -> None:
    """Free energy over two torsions in kcal/mol from counts (bins, bins) over [-180, 180) degrees."""
    values = thermodynamics.free_energy_surface(counts, temperature)
    image = _image(axis, values, (-180, 180, -180, 180), "viridis", low=0, high=_HIGHEST)
    degrees(axis)
    axis.set(title=titles[0], xlabel=titles[1], ylabel=titles[2])
    axis.figure.colorbar(image, ax=axis, label="kcal/mol", fraction=0.046, pad=0.03)


def _image(axis: Axes, values: Floats, bounds: Bounds, cmap: str, *, low: float, high: float) -> AxesImage:
    return axis.imshow(values.T, origin="lower", extent=bounds, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")


def degrees(axis: Axes, x: bool = True, y: bool = True) -> None:
    """Ticks every 90 degrees, on those of the two axes that are angles."""
    for name in [name for name, wanted in (("x", x), ("y", y)) if wanted]:
        axis.set(**{f"{name}lim": (-180, 180), f"{name}ticks": [-180, -90, 0, 90, 180]})


def symbol(name: str) -> str:
    """Name of a coordinate with the Greek letter of its torsion, such as "φ ALA2"."""
    kind, _, rest = name.partition(" ")
    return f"{_SIGNS[kind[:3]]}{kind[3:]} {rest}" if kind[:3] in _SIGNS else name


def surfaces(
    reference: Floats, generated: Floats, bounds: Bounds, labels: tuple[str, str], temperature: float
) -> bytes:
    """Two free-energy surfaces of counts (bins, bins) and their difference; bounds are left, right, bottom, top."""
    made, axes = figure(1, 3)
    levels = [thermodynamics.free_energy_surface(c, temperature) for c in (reference, generated)]
    top = min(float(np.nanmax(levels[0])), 6.0)
    # Shifted to equal mean over the bins both hold, so that a rare bin's noise does not set the zero.
    shared = np.isfinite(levels[0]) & np.isfinite(levels[1])
    difference = levels[1] - levels[0]
    if shared.any():
        difference = difference - np.average(difference[shared], weights=reference[shared])
    shown = [(level, name, "viridis", 0.0, top) for level, name in zip(levels, ("reference", "generated"), strict=True)]
    shown.append((difference, "generated - reference", "RdBu_r", -2.0, 2.0))
    for axis, (values, title, colours, low, high) in zip(axes, shown, strict=True):
        image = _image(axis, values, bounds, colours, low=low, high=high)
        axis.set_aspect("auto")
        axis.set(title=title, xlabel=labels[0], ylabel=labels[1])
        made.colorbar(image, ax=axis, shrink=0.9).set_label("kcal/mol")
    return png(made)


def _both(axis: Axes, x: Floats, pair: Sequence[Floats], **style: Any) -> None:
    axis.plot(x, pair[0], color=REFERENCE, label="reference", **style)
    axis.plot(x, pair[1], color=GENERATED, label="generated", **style)


def histograms(names: Sequence[str], reference: Sequence[Floats], generated: Sequence[Floats], torsions: bool) -> bytes:
    """Densities of up to forty features of runs (frames, features); torsions are in radians, drawn in degrees."""
    made, axes = panels(min(len(names), _MAX_PANELS), 4, height=2.1)
    for column, axis in enumerate(axes):
        sets = [np.concatenate([r[:, column] for r in runs]) for runs in (reference, generated)]
        if torsions:
            centres = np.rad2deg(-np.pi + (np.arange(TORSION_GRID.bins) + 0.5) * 2 * np.pi / TORSION_GRID.bins)
            values = [TORSION_GRID.counts(s) / len(s) * TORSION_GRID.bins / 360 for s in sets]
            degrees(axis, y=False)
        else:
            edges = np.linspace(min(s.min() for s in sets), max(s.max() for s in sets) + 1e-9, 101)
            centres, values = 0.5 * (edges[1:] + edges[:-1]), [np.histogram(s, edges, density=True)[0] for s in sets]
        _both(axis, centres, values, lw=1.2)
        axis.set(title=names[column], yticks=[], xlabel="degrees" if torsions else "nm")
    axes[0].legend(frameon=False, fontsize=8)
    return png(made)


def kinetics(curves: Document, interval: float, lag: int) -> bytes | None:
    """Implied timescales, Chapman-Kolmogorov test and torsion autocorrelations of a comparison, where it has any."""
    correlations = dict(list(curves.get("correlations", {}).items())[:4])
    used = 2 * ("timescales" in curves)
    if not used and not correlations:
        return None
    made, axes = panels(used + len(correlations), 3)
    if used:
        _timescale_panel(axes[0], curves["timescales"])
        _chapman_panel(axes[1], curves["chapman_kolmogorov"], lag * interval)
    for axis, (name, (md, own)) in zip(axes[used:], correlations.items(), strict=True):
        shown = np.full(len(md), np.nan)  # the generated set's may be shorter
        shown[: len(own)] = own[: len(md)]
        _both(axis, interval * np.arange(len(md)), [md, shown], lw=1.2)
        axis.axhline(np.exp(-1), color="0.8", lw=0.8, zorder=0)
        axis.set(title=f"autocorrelation, {name}", xlabel="ps", ylim=(-0.1, 1.02))
        axis.set_xscale("symlog", linthresh=10 * interval)
        axis.set_xlim(0, max(interval * (len(md) - 1), interval))
    if axes[0].get_legend_handles_labels()[0]:  # timescales of too few frames draw nothing
        axes[0].legend(frameon=False, fontsize=8)
    return png(made)


def _timescale_panel(axis: Axes, pair: Sequence[ImpliedTimescales]) -> None:
    for scales, colour, label in zip(pair, (REFERENCE, GENERATED), ("reference", "generated"), strict=True):
        for process in range(scales.values.shape[1]):
            value, low, high = (x[:, process] for x in (scales.values, scales.low, scales.high))
            if not np.isfinite(value).any():
                continue
            axis.plot(scales.lags, value, "o-", color=colour, ms=3, lw=1.2, label=label if process == 0 else None)
            axis.fill_between(scales.lags, low, high, color=colour, alpha=0.15, lw=0)
    axis.fill_between(pair[0].lags, 0, pair[0].lags, color="0.9", lw=0, zorder=0)
    axis.set(title="implied timescales", xlabel="lag (ps)", ylabel="ps", yscale="log")


def _chapman_panel(axis: Axes, pair: Sequence[ChapmanKolmogorov], lag: float) -> None:
    for test, colour in zip(pair, (REFERENCE, GENERATED), strict=True):
        for process in range(min(test.predicted.shape[1], 3)):
            axis.plot(lag * test.multiples, test.predicted[:, process], "-", color=colour, lw=1.2)
            axis.plot(lag * test.multiples, test.estimated[:, process], "o", color=colour, ms=4, mfc="none")
    axis.set(title="Chapman-Kolmogorov test", xlabel="ps", ylabel="staying", ylim=(-0.02, 1.02))


def bundles(sets: Mapping[str, Floats], topology: FileTopology) -> bytes:
    """Superposed frames (frames, atoms, 3) of each set, the first in bold, seen across their longest axes: backbones,
    coloured from the first residue (violet) to the last (yellow), or the heavy atoms of small molecules by element.
    """
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    symbols, bonds = topology_arrays(topology)
    atoms, _ = parts_of(topology)
    shown = np.array([a.name in _TRACE for a in atoms])
    chain = np.count_nonzero(shown) >= len(_TRACE) * _LEAST_TRACE
    if not chain:
        shown = np.array([s != "H" for s in symbols])
    place = np.array([a.residue.index for a in atoms]) / max(a.residue.index for a in atoms) if chain else None
    hues = [_ELEMENTS.get(s, "#7b2d8b") for s in symbols] if place is None else colormaps["viridis"](place)
    ends = np.array([b for b in bonds if shown[list(b)].all()])
    target = next(iter(sets.values()))[0]
    centre = target[shown].mean(axis=0)
    across = np.linalg.svd(target[shown] - centre, full_matrices=False)[2]
    made, axes = figure(1, len(sets), width=2.8, height=2.4)
    for axis, (name, frames) in zip(axes, sets.items(), strict=True):
        for rank, x in reversed(list(enumerate((frames - centre) @ across.T))):
            a, b = x[ends[:, 0]], x[ends[:, 1]]
            halves = np.concatenate([np.stack([a, (a + b) / 2], 1), np.stack([(a + b) / 2, b], 1)])
            colours, order = [hues[i] for i in ends.T.ravel()], np.argsort(halves[..., 2].mean(axis=1))
            style = {"linewidths": 2.6} if rank == 0 else {"linewidths": 0.8, "alpha": 0.4}
            axis.add_collection(LineCollection(list(halves[order, :, :2]), colors=[colours[i] for i in order], **style))
        axis.set_aspect("equal")
        axis.autoscale_view()
        axis.set_axis_off()
        axis.set_title(name)
    return png(made)


def energies(reference: Floats | None, generated: Floats, bounds: tuple[float, float] | None) -> bytes:
    """Potential-energy histograms in kJ/mol, with MD's 0.1 to 99.9 % range shaded; the reference may be unknown."""
    made, axes = figure(1, 1, width=4.5)
    sets = [s for s in (reference, generated) if s is not None]
    edges = np.linspace(min(s.min() for s in sets), max(s.max() for s in sets) + 1e-6, 101)
    for values, colour, label in ((reference, REFERENCE, "reference"), (generated, GENERATED, "generated")):
        if values is not None:
            axes[0].stairs(np.histogram(values, edges, density=True)[0], edges, color=colour, label=label)
    if bounds:
        axes[0].axvspan(*bounds, color="0.93", zorder=0)
    axes[0].set(title="potential energy", xlabel="kJ/mol", yticks=[])
    axes[0].legend(frameon=False, fontsize=8)
    return png(made)


def ramachandran_bounds() -> Bounds:
    """Axis bounds of a (phi, psi) surface in degrees."""
    low, high = np.rad2deg(TORSION_PAIR_GRID.low), np.rad2deg(TORSION_PAIR_GRID.high)
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])
