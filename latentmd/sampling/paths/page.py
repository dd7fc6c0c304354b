"""paths.html and paths.png of a run of paths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import mdtraj
import numpy as np
import torch

from latentmd.analysis.statistics import TORSION_PAIR_GRID
from latentmd.analysis.thermodynamics import free_energy_surface
from latentmd.arrays import Floats
from latentmd.io.atomic import write_bytes
from latentmd.io.formats import ascii_path
from latentmd.report import figures
from latentmd.report import page as report
from latentmd.report.markup import bullets, table
from latentmd.report.viewer import View
from latentmd.sampling.paths.decoded import path_file
from latentmd.sampling.paths.passages import Outcome, Passage
from latentmd.sampling.paths.plan import PathPlan
from latentmd.units import format_time, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = 8  # paths drawn as lines
_DOTS = 6000  # frames drawn as dots
_TOP = 6.0  # kcal/mol at which the colours of a surface end
_BINS = 50
_DRAWS = 2000  # structures of the model's equilibrium, where its file has no surfaces
_VIEWED = 3  # paths in the 3-D view
_ROWS = 12  # channels in the table
_CAPTION = (
    "Grey: free energy of the training data, or of the model where its file has none. Dots: frames of the paths by "
    "time. Lines: transitions of eight paths. Circle and square: mean start and end. Right: solid, the paths; dashed, "
    "the exact bridge of the chain of cells."
)
_METHOD = (
    "Paths are those of the model conditioned on both ends: the chain of its cells gives the probability of the end "
    "from everywhere (Doob's h-transform), a particle filter guided by it draws the latent steps, and weights correct "
    "the rest. Frames are decoded one by one; those with an energy that MD does not show are minimised."
)


def overview(found: Outcome) -> bytes:
    """PNG with the paths on the (phi, psi) surface where there is one, on the slow axes, and their states over time."""
    pairs = _turning_pair(found)
    made, axes = figures.figure(1, 2 + len(pairs), width=4.0, height=3.4)
    for pair, axis in zip(pairs, axes[:1], strict=False):
        _ramachandran(axis, found, pair)
    if found.drawn.slow[0, 0].size > 1:
        _slow_axes(axes[-2], found)
    else:
        axes[-2].set_axis_off()
    _states(axes[-1], found)
    return figures.png(made)


def _turning_pair(found: Outcome) -> list[tuple[int, int]]:
    """The (phi, psi) columns that differ most between the ends of the paths; none where there are no such torsions."""
    spec = found.plan.subject.spec
    if spec.kind != "torsions":
        return []
    first, last = (np.exp(1j * found.drawn.torsions[:, k].astype(np.float64)).mean(axis=0) for k in (0, -1))
    turns = np.abs(first - last)
    return sorted(spec.pairs, key=lambda pair: -float(turns[list(pair)].sum()))[:1]


def _surface(axis: Axes, counts: Floats, bounds: tuple[float, float, float, float], found: Outcome) -> Any:
    surface = free_energy_surface(counts, found.plan.subject.molecule.protocol.temperature)
    return axis.imshow(surface.T, origin="lower", extent=bounds, aspect="auto", cmap="Greys_r", vmin=-2, vmax=_TOP)


def _ramachandran(axis: Axes, found: Outcome, pair: tuple[int, int]) -> None:
    counts = _pair_counts(found, pair)
    if counts is not None:
        bar = axis.figure.colorbar(_surface(axis, counts, figures.ramachandran_bounds(), found), ax=axis, shrink=0.8)
        bar.set_label("free energy (kcal/mol)")
        bar.ax.set_ylim(0, _TOP)
    _draw(axis, np.degrees(found.drawn.torsions[:, :, list(pair)]), found, wrap=360.0)
    x, y = (f"{found.plan.subject.spec.names[column]} (degrees)" for column in pair)
    figures.degrees(axis)
    axis.set(xlabel=x, ylabel=y, title="paths on the free-energy surface")


def _pair_counts(found: Outcome, pair: tuple[int, int]) -> Floats | None:
    """(phi, psi) counts of the model's training data, or of its own equilibrium where its file has none of any."""
    subject, chain = found.plan.subject, found.plan.chain
    stored = {r.residue: np.array(r.counts, dtype=np.float64) for r in subject.manifest.reference.ramachandran}
    if stored:
        return stored.get(subject.spec.names[pair[0]].split()[1])
    rng = np.random.default_rng(0)
    points = chain.points[rng.choice(len(chain.weight), _DRAWS, p=chain.weight)]
    angles = subject.torsions(subject.propagator().decode(torch.from_numpy(points), rng))
    return TORSION_PAIR_GRID.counts(angles[:, list(pair)])


def _slow_axes(axis: Axes, found: Outcome) -> None:
    chain, slow = found.plan.chain, found.drawn.slow
    every, flat = _projected(found, chain.points), _projected(found, slow.reshape(-1, *slow.shape[2:]))
    shown = [0, 1]
    if chain.partition is not None:  # of several slow directions, those in which the ends differ
        ends = flat.reshape(*slow.shape[:2], -1)[:, [0, -1]].mean(axis=0)
        shown = np.argsort(-np.abs(ends[1] - ends[0]) / every.std(axis=0))[:2].tolist()
    points = every[:, shown]
    counts, x, y = np.histogram2d(points[:, 0], points[:, 1], bins=_BINS, weights=chain.weight)
    _surface(axis, counts, (float(x[0]), float(x[-1]), float(y[0]), float(y[-1])), found)
    dots = _draw(axis, flat[:, shown].reshape(*slow.shape[:2], 2), found)
    axis.figure.colorbar(dots, ax=axis, shrink=0.8).set_label("share of the path's time")
    for state in range(len(chain.populations)):
        chosen = chain.states[chain.cell] == state
        centre = np.average(points[chosen], axis=0, weights=chain.weight[chosen])
        box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "0.3", "lw": 0.6}
        axis.annotate(str(state + 1), (float(centre[0]), float(centre[1])), fontsize=8, bbox=box)
    kind = "slow axis" if chain.partition is None else "slow direction (TICA)"
    names = [f"{kind} {column + 1}" for column in shown]
    axis.set(xlabel=names[0], ylabel=names[1], title="paths in the latent, and its states")


def _projected(found: Outcome, points: Floats) -> Floats:
    """Points on the slow axes, or in the directions that fitted cells lie in; shape (points, axes)."""
    flat, partition = points.reshape(len(points), -1), found.plan.chain.partition
    return np.asarray(flat if partition is None else (flat - partition.mean) @ partition.axes)


def _draw(axis: Axes, values: Floats, found: Outcome, wrap: float = 0.0) -> Any:
    """Frames as dots coloured by time, which are returned, and the transitions of some paths as lines."""
    count, frames, _ = values.shape
    flat = values.reshape(-1, 2)
    time = np.tile(np.linspace(0, 1, frames), count)
    pick = np.random.default_rng(0).permutation(len(flat))[:_DOTS]
    dots = axis.scatter(flat[pick, 0], flat[pick, 1], c=time[pick], s=3, cmap="plasma", alpha=0.5, lw=0, vmin=0, vmax=1)
    for path, passage in list(zip(values, found.passages, strict=True))[:_LINES]:
        last = frames if passage.arrives < 0 else passage.arrives + 1
        for start, end in pairwise(np.array(path[passage.leaves : last], dtype=np.float64)):
            turn = wrap * np.round((end - start) / wrap) if wrap else np.zeros(2)
            for a, b in {(tuple(start), tuple(end - turn)), (tuple(start + turn), tuple(end))}:
                axis.plot((a[0], b[0]), (a[1], b[1]), color="#0f766e", lw=0.9, alpha=0.8)
    for place, marker in ((0, "o"), (-1, "s")):
        axis.plot(*_mean(values[:, place], wrap), marker, mfc="white", mec="k", ms=6)
    return dots


def _mean(points: Floats, wrap: float) -> Floats:
    """Mean of points, of angles where they wrap."""
    if not wrap:
        return np.asarray(points.mean(axis=0))
    return np.asarray(np.angle(np.exp(2j * np.pi / wrap * points).mean(axis=0)) * wrap / (2 * np.pi))


def _states(axis: Axes, found: Outcome) -> None:
    """Share of the paths in each state, and what the exact bridge of the chain of cells says."""
    plan, drawn, states = found.plan, found.drawn, found.states
    times = plan.request.interval * np.arange(states.shape[1])
    starts = drawn.cells[:, 0]
    exact = np.zeros((states.shape[1], len(plan.chain.stationary)))
    for cell in np.unique(starts):
        exact += drawn.weight[starts == cell].sum() * plan.guide.marginals(int(cell))
    for state in range(len(plan.chain.populations)):
        colour = f"C{state}"
        axis.plot(times, drawn.weight @ (states == state), color=colour, lw=1.4, label=f"state {state + 1}")
        axis.plot(times, exact[:, plan.chain.states == state].sum(axis=1), color=colour, lw=0.9, ls="--")
    axis.set(xlabel="time (ps)", ylabel="share of the paths", ylim=(-0.02, 1.02), title="states over time")
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def transitions(plan: PathPlan, passages: Sequence[Passage]) -> bytes | None:
    """PNG with the durations of the transitions and the times at which they end; None where there is none."""
    step = plan.request.interval
    durations = np.array([step * (p.arrives - p.leaves) for p in passages if p.arrives >= 0])
    if not len(durations):
        return None
    arrivals = np.array([step * p.arrives for p in passages if p.arrives >= 0])
    made, axes = figures.figure(1, 2, width=3.6)
    most = np.quantile(durations, 0.99) + step
    axes[0].hist(durations, bins=np.arange(step / 2, most + step, step).tolist(), color=figures.GENERATED)
    axes[0].set(xlabel="duration (ps)", ylabel="paths", title="last in one state to first in the other")
    axes[1].hist(arrivals, bins=np.linspace(0, plan.request.time, 21).tolist(), color=figures.GENERATED)
    axes[1].set(xlabel="time (ps)", ylabel="paths", title="first arrival")
    return figures.png(made)


def write_page(found: Outcome, summary: dict[str, Any]) -> None:
    """Write paths.png and paths.html."""
    plan, ways = found.plan, found.ways
    folder, request = plan.request.out, plan.request
    image, durations = overview(found), transitions(plan, found.passages)
    write_bytes(folder / "paths.png", image)
    shares = [
        (way.name, f"{way.count:,}", f"{percent(way.share, 1)} ({percent(way.low, 1)} to {percent(way.high, 1)})")
        for way in ways[:_ROWS]
    ]
    states = [
        (str(s["state"]), s["at"], percent(s["population"], 1), percent(s["share_of_path_frames"], 1))
        for s in summary["states"]
    ]
    ways_text = (
        "States from the last frame in the first one to the first frame in the last one, with 95 % intervals for "
        f"{found.effective:.0f} independent paths."
        + (f" The {len(ways) - _ROWS} rarest are left out." if len(ways) > _ROWS else "")
    )
    columns = ("state", "where", "population", "share of path frames")
    sections = [
        report.Section("How far to trust it", body=bullets(_trust(summary))),
        report.Section("Paths", figures=[(image, _CAPTION)]),
        report.Section("Ways between the ends", ways_text, table(("states", "paths", "share"), shares)),
        report.Section("States of the model", "Metastable sets of the chain of cells (PCCA+).", table(columns, states)),
        report.Section("Transitions", figures=[(durations, "Durations and arrivals")] if durations else []),
        report.Section("What the run did", _METHOD, table(("quantity", "value"), _work(summary))),
    ]
    lead = (
        f"{request.count:,} paths from {plan.ends[0].name} to {plan.ends[1].name} in {format_time(request.time)}, a "
        f"frame every {format_time(request.interval)}"
    )
    report.write_page(folder / "paths.html", "Paths", lead, sections, _view(plan))


def _trust(summary: dict[str, Any]) -> list[str]:
    sound, count = summary["frames_sound_before_relaxation"], summary["paths"]
    passed = "" if sound is None else f"{percent(sound, 2)} of the drawn frames passed the structure checks as drawn"
    checks = (passed, f"{summary['frames_failing_checks']:,} of {summary['frames']:,} frames fail one at the end")
    return [
        "Paths are the model's own: where it is wrong about how the molecule moves, so are they",
        f"{summary['independent_paths']:.0f} of {count:,} paths are independent of each other; intervals count these",
        ", and ".join(text for text in checks if text),
        *summary["notes"],
    ]


def _work(summary: dict[str, Any]) -> list[tuple[str, str]]:
    end, sound = summary["log_probability_of_end"], summary["frames_sound_before_relaxation"]
    return [
        ("probability of the end, model", f"{np.exp(end['model']):.3g} ({end['model_is']})"),
        ("probability of the end's cells, chain", f"{np.exp(end['chain of cells']):.3g}"),
        ("mean ln probability of a path among those of the bridge", f"{summary['mean_ln_probability']:.1f}"),
        ("least effective share of particles", percent(summary["least_effective_share"], 1)),
        ("frames sound before relaxation", "none was drawn" if sound is None else percent(sound, 2)),
        ("frames minimised", f"{summary['frames_relaxed']:,} of {summary['frames']:,}"),
        ("frames failing a check at the end", f"{summary['frames_failing_checks']:,}"),
    ]


def _view(plan: PathPlan) -> View:
    topology, sets = mdtraj.load_topology(str(plan.request.out / "topology.pdb")), []
    for number in range(min(_VIEWED, plan.request.count)):
        with ascii_path(path_file(plan.request.out, number)) as name:
            loaded = mdtraj.load(name, top=topology)
        sets.append((f"path {number}", loaded.xyz, loaded.time))
    return View(topology, sets)
