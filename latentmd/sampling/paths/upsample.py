"""Upsampling: frames drawn between the frames of a trajectory, with the fast motion that MD has there."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from latentmd.analysis.kinetics import torsion_autocorrelation
from latentmd.analysis.statistics import TORSION_GRID, js_distance
from latentmd.arrays import Doubles, Floats
from latentmd.model.paths import path_file
from latentmd.report import figures
from latentmd.report import page as report_page
from latentmd.report.markup import table
from latentmd.sampling.paths.batch import KINDS, PathFrames, laid_on, structures
from latentmd.sampling.paths.fill import Filled, FillPart, FillPlan, FillRequest, FillResult, fill
from latentmd.sampling.paths.given import Given, fill_windows, read_given
from latentmd.sampling.paths.plan import frames_of
from latentmd.sampling.paths.relax import settle
from latentmd.sampling.paths.request import RunKeywords, Subject, subject_of
from latentmd.sampling.run.options import picoseconds
from latentmd.sampling.run.seeds import numbered_streams
from latentmd.units import format_time

_PART = 4000  # frames that one task draws, about
_SHOWN = 200  # frames in the picture of a piece
_TOLERANCE = 1e-3  # relative, of times between frames


@dataclass(frozen=True, kw_only=True)
class UpsamplePart(FillPart):
    """A stretch of the trajectory. Picklable.

    Attributes:
        known: given structures, one more interval at either side where there is one, nm, shape (frames, atoms, 3).
        skip: intervals at its beginning that lend their surroundings only.
        intervals: that it keeps.
        closes: whether it keeps the frame at its end.
        stride, every: of the given frames among all, and time between all frames in ps.
    """

    known: Floats
    skip: int
    intervals: int
    closes: bool
    stride: int
    every: float


def fill_part(part: UpsamplePart) -> int:
    """Draw, decode, settle and keep the frames of a part; returns their number."""
    propagator = part.frames.propagator()
    rng, generator, settling = numbered_streams(part.seed, part.number)
    known = propagator.encode(part.known)
    whole = fill_windows(propagator.trajectories, known, part.stride, part.every, generator)
    begin = part.skip * part.stride
    slow = whole[begin : begin + part.intervals * part.stride + int(part.closes)]
    made = structures(part.frames, propagator, slow, rng)
    x, energies = settle(part.frames.molecule, made["positions"], part.frames.torsions, settling)
    x, kinds = laid_on(x, part.frames), np.full(len(x), KINDS.index("relaxed"), np.int8)
    given = laid_on(
        part.known[part.skip : part.skip + part.intervals + int(part.closes)].astype(np.float64), part.frames
    )
    x[:: part.stride], kinds[:: part.stride] = given, KINDS.index("given")
    energies[:: part.stride] = energies_of(part.frames, given)
    return part.keep(x, kinds, energies, made["sound"])


def energies_of(frames: PathFrames, positions: Floats) -> Doubles:
    """Potential energies in kJ/mol, shape (frames,), of structures as they are."""
    from latentmd.replicas.choice import replica_engine

    molecule = frames.molecule
    return replica_engine(molecule.system, positions, temperature=molecule.protocol.temperature).energies()


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
    return fill("upsample", lambda request, _: _plan(request, spacing), (trajectory, top), interval, keywords)


def _plan(request: FillRequest, every: float) -> FillPlan:
    subject = subject_of((request.top,), request.model, request.inputs)
    spec, frames = frames_of(subject)
    given = read_given(request.trajectory, subject.molecule.topology, request.interval)
    network = subject.propagator().trajectories
    path, _ = path_file(_file_of(subject), subject.manifest)
    stride = _stride(given, every, network.lag_range, network.window)
    exact = given.interval / stride
    total = (len(given.positions) - 1) * stride + 1
    request_record = {
        "command": "upsample", "trajectory": sha256(given.positions.tobytes()).hexdigest(), "every": every,
        "model": subject.model.sha256, "path model": sha256(path.read_bytes()).hexdigest(), "seed": request.seed,
        "protocol": asdict(subject.molecule.protocol),
    }  # fmt: skip
    return FillPlan(
        "upsample", request, subject, _parts(request, frames, given, (stride, exact)), fill_part,
        times=given.times[0] + exact * np.arange(total), record=request_record,
        describe=lambda filled: _describe(filled, spec.names, stride, exact),
        title=f"{len(given.positions):,} frames {format_time(given.interval)} apart, filled in to one every "
        f"{format_time(exact)}",
    )  # fmt: skip


def _file_of(subject: Subject) -> Path:
    from latentmd.model.file import find

    return find(subject.model.name)


def _stride(given: Given, every: float, lags: tuple[float, float], window: int) -> int:
    """Frames per interval of the given trajectory; ValueError where that is no whole number, or nothing that the
    model knows.
    """
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


def _parts(request: FillRequest, frames: PathFrames, given: Given, spacing: tuple[int, float]) -> list[UpsamplePart]:
    stride, every = spacing
    total = len(given.positions) - 1
    count = max(1, round(total * stride / _PART))
    edges = np.unique(np.linspace(0, total, count + 1).astype(int))
    parts = []
    for number, (a, b) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        low, high = max(0, a - 1), min(total, b + 1)
        known = given.positions[low : high + 1]
        parts.append(
            UpsamplePart(
                frames=frames,
                known=known,
                skip=a - low,
                intervals=b - a,
                closes=b == total,
                stride=stride,
                every=every,
                folder=request.out,
                number=number,
                seed=request.seed,
            )
        )
    return parts


def _describe(
    filled: Filled, names: tuple[str, ...], stride: int, every: float
) -> tuple[dict[str, Any], list[report_page.Section], bytes]:
    angles = filled.torsions
    new = np.ones(len(angles), dtype=bool)
    new[::stride] = False
    rows, distances = [], {}
    for column in range(min(angles.shape[1], len(names))):
        counts = [TORSION_GRID.counts(angles[part, column]) for part in (new, ~new)]
        distances[names[column]] = js_distance(*counts)
        rows.append((names[column], f"{distances[names[column]]:.3f}"))
    image = _picture(angles, names, stride, every)
    caption = (
        "Left: a piece of the trajectory, given frames as dots. Middle: autocorrelation, of the given frames alone as "
        "dots. Right: new frames beside given ones."
    )
    sections = [
        report_page.Section("Frames filled in", figures=[(image, caption)]),
        report_page.Section(
            "New frames beside given ones",
            "Jensen–Shannon distance of each torsion; both sets are finite.",
            table(("torsion", "distance"), rows),
        ),
    ]
    return {"frame_interval_ps": every, "stride": stride, "distance_new_to_given": distances}, sections, image


def _picture(angles: Floats, names: tuple[str, ...], stride: int, every: float) -> bytes:
    made, axes = figures.figure(1, 3, width=3.7)
    columns = range(min(2, angles.shape[1]))
    times = every * np.arange(len(angles))
    for column in columns:
        degrees = np.degrees(angles[:, column])
        shown = slice(0, _SHOWN + 1)
        axes[0].plot(times[shown], degrees[shown], ".", ms=2, color=f"C{column}", label=names[column])
        axes[0].plot(times[shown][::stride], degrees[shown][::stride], "o", ms=4, mfc="none", color=f"C{column}")
        lag = min(len(angles) - 1, max(2 * stride, round(100 / every)))
        curve = torsion_autocorrelation([angles[:, column]], lag)
        axes[1].plot(every * np.arange(len(curve)), curve, color=f"C{column}", lw=1.2, label=names[column])
        coarse = torsion_autocorrelation([angles[::stride, column]], lag // stride)
        axes[1].plot(every * stride * np.arange(len(coarse)), coarse, "o", ms=4, mfc="none", color=f"C{column}")
        new = np.delete(angles[:, column], np.arange(0, len(angles), stride))
        edges = np.linspace(-180, 180, 73).tolist()
        axes[2].hist(np.degrees(new), edges, density=True, histtype="step", color=f"C{column}")
        axes[2].hist(degrees[::stride], edges, density=True, alpha=0.25, color=f"C{column}")
    axes[0].set(xlabel="time (ps)", ylabel="degrees", ylim=(-180, 180), title="a piece")
    axes[1].set(xlabel="lag (ps)", title="autocorrelation", xscale="symlog", xlim=(0, None))
    axes[2].set(xlabel="degrees", yticks=[], title="new (line), given (filled)")
    if len(columns):
        axes[0].legend(frameon=False, fontsize=8)
    return figures.png(made)
