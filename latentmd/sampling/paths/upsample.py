"""Upsampling: frames drawn between the frames of a trajectory, with the fast motion that MD has there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from latentmd.analysis.kinetics import torsion_autocorrelation
from latentmd.analysis.statistics import TORSION_GRID, js_distance
from latentmd.arrays import Bools, Floats
from latentmd.model.file import find
from latentmd.model.paths import PathSampler, path_file
from latentmd.report import figures
from latentmd.report import page as report_page
from latentmd.report.markup import table
from latentmd.sampling.paths.decoded import KINDS, DecodedFrames, laid_on, structures
from latentmd.sampling.paths.fill import Filled, FillPart, FillPlan, FillRequest, FillResult, Given, fill
from latentmd.sampling.paths.request import RunKeywords, subject_of
from latentmd.sampling.run.options import picoseconds
from latentmd.sampling.run.seeds import numbered_streams
from latentmd.units import format_time

_AT_ONCE = 64  # windows sampled together


@dataclass(frozen=True)
class Window:
    """Intervals between known frames that are drawn together; those not kept lend the others what lies around them."""

    first: int
    intervals: int
    keep: tuple[int, int]  # first and last + 1


def windows(known: int, most: int) -> list[Window]:
    """Windows of at most `most` intervals that keep each interval between known frames (two at least) once.

    Where a window spans three intervals or more, its outermost ones are drawn again by its neighbours.

    Example:
        >>> [(w.first, w.intervals, w.keep) for w in windows(6, 3)]
        [(0, 3, (0, 2)), (1, 3, (2, 3)), (2, 3, (3, 5))]
    """
    total = known - 1
    span = min(most, total)
    edge = 1 if span >= 3 else 0
    result, done = [], 0
    while done < total:
        first = max(0, min(done - edge, total - span))
        stop = total if first + span == total else first + span - edge
        result.append(Window(first, span, (done, stop)))
        done = stop
    return result


def fill_windows(model: PathSampler, known: Tensor, stride: int, every: float, generator: torch.Generator) -> Tensor:
    """Slow axes with frames `every` ps apart drawn between known ones [frames, tokens, k], which stay as they were."""
    result = torch.empty((len(known) - 1) * stride + 1, *known.shape[1:])
    result[::stride] = known
    plan = windows(len(known), (model.window - 1) // stride)
    for at in range(0, len(plan), _AT_ONCE):
        group = plan[at : at + _AT_ONCE]
        frames = group[0].intervals * stride + 1
        values = torch.zeros(len(group), frames, *known.shape[1:])
        for row, window in zip(values, group, strict=True):
            row[::stride] = known[window.first : window.first + window.intervals + 1]
        mask = torch.zeros(values.shape[:3], dtype=torch.bool)
        mask[:, ::stride] = True
        times = (every * torch.arange(frames)).expand(len(group), -1)
        drawn = model.sample(values, mask, times, torch.randn(values.shape, generator=generator))
        for row, window in zip(drawn, group, strict=True):
            a, b = (stride * (edge - window.first) for edge in window.keep)
            result[window.keep[0] * stride : window.keep[1] * stride] = row[a:b]
    result[::stride] = known
    return result


_PART = 4000  # frames that one task draws, about
_SHOWN = 200  # frames in the picture of a piece
_TOLERANCE = 1e-3  # relative, of times between frames


@dataclass(frozen=True, kw_only=True)
class UpsamplePart(FillPart):
    """A stretch of the trajectory. Picklable."""

    known: Floats  # given structures, one more interval at either side where there is one, nm, shape (frames, atoms, 3)
    own: slice  # those that it keeps, with what follows them; the others lend their surroundings only
    stride: int  # of the given frames among all
    every: float  # ps between all frames

    def run(self) -> int:
        """Draw, decode, settle and keep the frames; returns their number."""
        subject, propagator = self.subject, self.subject.propagator()
        rng, generator, settling = numbered_streams(self.options.seed, self.number)
        whole = fill_windows(propagator.trajectories, propagator.encode(self.known), self.stride, self.every, generator)
        slow = whole[self.own.start * self.stride : self.own.stop * self.stride]
        made = structures(subject, propagator, slow, rng)
        x, energies = subject.settled(made.positions, settling)
        kind = "relaxed" if subject.manifest.of_force_field else "latent"
        x, kinds = laid_on(x, subject), np.full(len(x), KINDS.index(kind), np.int8)
        given = laid_on(self.known[self.own], subject)
        x[:: self.stride], kinds[:: self.stride] = given, KINDS.index("given")
        energies[:: self.stride] = subject.energies(given)
        return self.keep(DecodedFrames(x, kinds, energies, made.sound), propagator)


def upsample(
    trajectory: str | Path,
    top: str | Path,
    *,
    every: str | float = "1ps",
    interval: str | float | None = None,
    **keywords: Unpack[RunKeywords],
) -> FillResult:
    """Fill in frames between those of a trajectory.

    Args:
        trajectory: any file that mdtraj reads; its frames are kept.
        top: PDB file of its atoms.
        every: time between the frames wanted; text with a unit, or ps. The given frames must be a multiple of it apart.
        interval: time between the given frames, for formats without times.
        keywords: `model`, `seed`, `processes`, `out`, `overwrite`, `resume`, `inputs` and `progress`, as `RunKeywords`
            describes them.

    Raises:
        ValueError: a setting, a file or the model is wrong.
        OutputError: the folder cannot be used.
        RunError: the run failed.
        RunInterrupted: Ctrl-C.
    """
    spacing = picoseconds(every)
    return fill("upsample", lambda request: _plan(request, spacing), (trajectory, top), interval, keywords)


def _plan(request: FillRequest, every: float) -> FillPlan:
    subject = subject_of((request.top,), request.model, request.inputs)
    given = request.given(subject)
    network = subject.propagator().trajectories
    path, _ = path_file(find(subject.model.name), subject.manifest)
    stride = _stride(given, every, network.lag_range, network.window)
    exact, total = given.interval / stride, len(given.positions) - 1
    part = partial(UpsamplePart, options=request, subject=subject, stride=stride, every=exact)
    parts, edges = [], np.unique(np.linspace(0, total, max(1, round(total * stride / _PART)) + 1).astype(int))
    for number, (a, b) in enumerate(pairwise(edges.tolist())):
        low, high = max(0, a - 1), min(total, b + 1)
        own = slice(a - low, b - low + (b == total))
        parts.append(part(number=number, known=given.positions[low : high + 1], own=own))
    apart, wanted = format_time(given.interval), format_time(exact)
    title = f"{len(given.positions):,} frames {apart} apart, filled in to one every {wanted}"
    describe = partial(_describe, names=subject.spec.names, stride=stride, every=exact)
    times = given.times[0] + exact * np.arange(total * stride + 1)
    record: dict[str, object] = {"every": every, "path model": sha256(path.read_bytes()).hexdigest()}
    return FillPlan(subject, given, parts, times, record, describe=describe, title=title)


def _stride(given: Given, every: float, lags: tuple[float, float], window: int) -> int:
    """Frames per interval of the given trajectory; ValueError where that is nothing that the model knows."""
    stride = round(given.interval / every)
    if stride < 1 or abs(stride * every - given.interval) > _TOLERANCE * every:
        raise ValueError(
            f"frames of {given.path} are {format_time(given.interval)} apart, which is no multiple of --every, "
            f"{format_time(every)}: try {format_time(given.interval / max(2, math.ceil(given.interval / every)))}"
        )
    if stride == 1:
        raise ValueError(
            f"frames of {given.path} are {format_time(given.interval)} apart already: nothing is left to fill in; give "
            "a shorter --every"
        )
    if not lags[0] * (1 - _TOLERANCE) <= every <= lags[1] * (1 + _TOLERANCE):
        raise ValueError(
            f"--every is {format_time(every)}; the path model knows frames {format_time(lags[0])} to "
            f"{format_time(lags[1])} apart"
        )
    if stride > window - 1:
        raise ValueError(
            f"{stride - 1} frames are missing between two given ones; the path model fills in {window - 2} at most: "
            f"give a longer --every, such as {format_time(given.interval / (window // 2))}, or upsample in two steps"
        )
    return stride


def _describe(
    filled: Filled, names: tuple[str, ...], stride: int, every: float
) -> tuple[dict[str, object], list[report_page.Section], bytes]:
    angles = filled.torsions
    new = np.arange(len(angles)) % stride > 0
    distances = {
        name: js_distance(*(TORSION_GRID.counts(angles[part, column]) for part in (new, ~new)))
        for column, name in enumerate(names[: angles.shape[1]])
    }
    image = _picture(angles, names, new, every)
    caption = (
        "Left: a piece of the trajectory, given frames as dots. Middle: autocorrelation, of the given frames alone as "
        "dots. Right: new frames beside given ones."
    )
    text = "Jensen–Shannon distance of each torsion; both sets are finite."
    rows = [(name, f"{distance:.3f}") for name, distance in distances.items()]
    sections = [
        report_page.Section("Frames filled in", figures=[(image, caption)]),
        report_page.Section("New frames beside given ones", text, table(("torsion", "distance"), rows)),
    ]
    return {"frame_interval_ps": every, "stride": stride, "distance_new_to_given": distances}, sections, image


def _picture(angles: Floats, names: tuple[str, ...], new: Bools, every: float) -> bytes:
    made, (piece, correlation, histogram) = figures.figure(1, 3, width=3.7)
    stride, edges = int(np.argmin(new[1:])) + 1, np.linspace(-180, 180, 73).tolist()
    times = every * np.arange(min(len(angles), _SHOWN + 1))
    lag = min(len(angles) - 1, max(2 * stride, round(100 / every)))
    for column, name in enumerate(names[: min(2, angles.shape[1])]):
        degrees, colour = np.degrees(angles[:, column]), f"C{column}"
        piece.plot(times, degrees[: len(times)], ".", ms=2, label=name, color=colour)
        piece.plot(times[::stride], degrees[: len(times) : stride], "o", ms=4, mfc="none", color=colour)
        curve = torsion_autocorrelation([angles[:, column]], lag)
        correlation.plot(every * np.arange(len(curve)), curve, lw=1.2, label=name, color=colour)
        coarse = torsion_autocorrelation([angles[::stride, column]], lag // stride)
        correlation.plot(every * stride * np.arange(len(coarse)), coarse, "o", ms=4, mfc="none", color=colour)
        histogram.hist(degrees[new], edges, density=True, histtype="step", color=colour)
        histogram.hist(degrees[~new], edges, density=True, alpha=0.25, color=colour)
    piece.set(xlabel="time (ps)", ylabel="degrees", ylim=(-180, 180), title="a piece")
    correlation.set(xlabel="lag (ps)", title="autocorrelation", xscale="symlog", xlim=(0, None))
    histogram.set(xlabel="degrees", yticks=[], title="new (line), given (filled)")
    if angles.shape[1]:
        piece.legend(frameon=False, fontsize=8)
    return figures.png(made)
