"""A run of paths: batches in worker processes, then trajectories, tables, pictures and the page."""

from __future__ import annotations

import csv
import io
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from latentmd.arrays import Doubles
from latentmd.io.atomic import write_json, write_text
from latentmd.io.folder import RunFiles, check_folder, claim_folder
from latentmd.io.pdb import write_pdb
from latentmd.io.progress import Progress, quiet
from latentmd.io.provenance import write_provenance
from latentmd.sampling.paths.batch import KINDS, PathBatch, draw_batch, path_file
from latentmd.sampling.paths.fill import DrawnResult, draw, frame_counts, summary_head
from latentmd.sampling.paths.page import write_page
from latentmd.sampling.paths.passages import Channel, Drawn, Passage, channels, passage, read_batches
from latentmd.sampling.paths.plan import PathPlan, make_plan
from latentmd.sampling.paths.request import PathsRequest, RunKeywords, shared_options
from latentmd.sampling.run.options import picoseconds

_SHARED = 0.5  # share of different ancestors below which the summary warns that paths share their past


def write_results(
    plan: PathPlan, files: Sequence[Path], wall: dict[str, float], clocks: tuple[float, float]
) -> dict[str, Any]:
    """Write tables, pictures, page and, last, summary.json; returns its content. `clocks`: when run and phase began."""
    drawn, folder = read_batches(files), plan.request.out
    states = plan.chain.states[drawn.cells]
    passages = [passage(row, plan.ends[0].state, plan.ends[1].state) for row in states]
    log_probability = plan.guide.log_probabilities(drawn.cells)
    effective = min(1 / float((drawn.weight**2).sum()), drawn.ancestors)
    ways = channels(passages, drawn.weight, effective)
    _write_frames(folder / "provenance.csv", drawn, plan.request.interval)
    _write_paths(folder / "paths.csv", plan, drawn, (passages, log_probability))
    summary = _summary(plan, drawn, (passages, log_probability, ways), effective)
    write_page(plan, drawn, (passages, ways), summary)
    wall["results"] = clock.perf_counter() - clocks[1]
    wall["total"] = clock.perf_counter() - clocks[0]
    summary["wall_seconds"] = {name: round(seconds, 3) for name, seconds in wall.items()}
    write_json(folder / "summary.json", summary)
    return summary


def _write_frames(path: Path, drawn: Drawn, interval: float) -> None:
    count, frames = drawn.cells.shape
    columns = ("walker", "time_ps", "kind", "potential_energy", "checks_failed", "weight")
    kinds = np.array(KINDS)[drawn.kinds]
    shares = [f"{w / frames:.6g}" for w in drawn.weight]
    times = [f"{interval * k:.10g}" for k in range(frames)]
    rows = (
        (n, times[k], kinds[n, k], f"{drawn.energies[n, k]:.4f}", drawn.failed[n, k], shares[n])
        for n in range(count)
        for k in range(frames)
    )
    write_provenance(path, columns, rows)


def _write_paths(path: Path, plan: PathPlan, drawn: Drawn, found: tuple[Sequence[Passage], Doubles]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "weight", "ln_probability", "states", "leaves_ps", "arrives_ps"])
    step = plan.request.interval
    for n, (p, value) in enumerate(zip(*found, strict=True)):
        arrives = "" if p.arrives < 0 else f"{step * p.arrives:.10g}"
        names = " ".join(str(s + 1) for s in p.channel)
        writer.writerow([n, f"{drawn.weight[n]:.6g}", f"{value:.4f}", names, f"{step * p.leaves:.10g}", arrives])
    write_text(path, text.getvalue())


def _summary(
    plan: PathPlan, drawn: Drawn, found: tuple[Sequence[Passage], Doubles, list[Channel]], effective: float
) -> dict[str, Any]:
    request, chain = plan.request, plan.chain
    passages, log_probability, ways = found
    states = chain.states[drawn.cells]
    visited = np.bincount(
        states.ravel(), np.repeat(drawn.weight / states.shape[1], states.shape[1]), len(chain.populations)
    )
    lengths = [request.interval * (p.arrives - p.leaves) for p in passages if p.arrives >= 0]
    return {
        **summary_head("paths"),
        "ends": [end.name for end in plan.ends], "end_states": [end.state + 1 for end in plan.ends],
        "time_ps": request.time, "frame_interval_ps": request.interval, "paths": request.count,
        "seed": request.seed, "model": {"name": plan.subject.model.manifest.name, "sha256": plan.subject.model.sha256},
        "log_probability_of_end": {
            "chain of cells": plan.log_reach, "model": drawn.log_likelihood,
            "model_is": "probability" if plan.ends[1].point is None else "density in the slow axes",
        },
        "independent_paths": effective, "least_effective_share": drawn.effective,
        "mean_ln_probability": float(np.average(log_probability, weights=drawn.weight)),
        "channels": [{"states": way.name, "paths": way.count, "share": way.share, "low": way.low, "high": way.high}
                     for way in ways],
        "mean_transition_ps": float(np.mean(lengths)) if lengths else None,
        "states": [{"state": i + 1, "population": float(share), "share_of_path_frames": float(visited[i]), "at": label}
                   for i, (share, label) in enumerate(zip(chain.populations, plan.labels, strict=True))],
        "frames": int(drawn.cells.size), **frame_counts(drawn),
        "notes": [*_end_notes(plan), *_notes(drawn, request.count)],
    }  # fmt: skip


def _end_notes(plan: PathPlan) -> list[str]:
    if len(plan.subject.structures) < 2 or plan.ends[1].structure is not None:
        return []
    return [
        "The model has no density, so that paths are pinned to the cell of B, one of "
        f"{len(plan.chain.stationary)}, and not to B itself: their last frames are drawn as the others are."
    ]


def _notes(drawn: Drawn, count: int) -> list[str]:
    notes = []
    if drawn.ancestors < _SHARED * count:
        notes.append(
            f"The {count} paths have {drawn.ancestors} different ones in their middle: the filter had to repeat paths, "
            "so that shares are less certain than their number says. Take a longer time or more paths."
        )
    return notes


FILES = RunFiles(
    "paths",
    (
        "topology.pdb", "path-*.xtc", "provenance.csv", "paths.csv", "states.csv", "summary.json", "paths.png",
        "paths.html", "state",
    ),
)  # fmt: skip
_BATCH = 125  # paths of one filter at most


@dataclass(frozen=True)
class PathsResult(DrawnResult):
    """Finished paths."""

    @property
    def trajectories(self) -> list[Path]:
        """XTC files, one per path."""
        return [path_file(self.folder, number) for number in range(self.summary["paths"])]

    def __repr__(self) -> str:
        return f"PathsResult({str(self.folder)!r}, {len(self.trajectories)} paths)"


def paths(
    *pdbs: str | Path,
    origin: int | None = None,
    target: int | None = None,
    time: str | float = "1ns",
    every: str | float = "10ps",
    count: int = 100,
    **keywords: Unpack[RunKeywords],
) -> PathsResult:
    """Draw transition paths between two structures, or between metastable states of a model.

    Args:
        pdbs: structures of both ends; of the first, with `target`; or none, with `origin` and `target`.
        origin, target: numbers from 1 of metastable states of the model.
        time: of a path. Text with a unit, or ps.
        every: time between frames.
        count: paths.
        keywords: `model`, `seed`, `processes`, `out`, `overwrite`, `resume`, `inputs` and `progress`, as `RunKeywords`
            describes them.

    Raises:
        ValueError: a setting, a file or the model is wrong, or the model does not connect the ends in that time.
        OutputError: the folder cannot be used.
        RunError: the run failed.
        RunInterrupted: Ctrl-C.
    """
    files = tuple(Path(pdb) for pdb in pdbs)
    stem = (files[0] if files else Path(keywords.get("model") or "model")).stem
    request = PathsRequest(
        pdbs=files,
        origin=origin,
        target=target,
        time=picoseconds(time),
        interval=picoseconds(every),
        count=count,
        **shared_options(f"{stem}-paths", keywords),
    )
    return run_paths(request, keywords.get("progress") or quiet)


def run_paths(request: PathsRequest, report: Progress) -> PathsResult:
    """Check a request and run it; errors as for `paths`."""
    begin = clock.perf_counter()
    check_folder(request.out, request.policy, FILES)
    report("preparing")
    plan = make_plan(request)
    with claim_folder(request.out, request.policy, FILES, plan.record()):
        return PathsResult.of(request.out) or _execute(plan, report, begin)


def _execute(plan: PathPlan, report: Progress, begin: float) -> PathsResult:
    request, folder = plan.request, plan.request.out
    write_pdb(folder / "topology.pdb", plan.subject.molecule.topology, plan.subject.reference)
    batches = _batches(plan)
    wall = {"preparation": clock.perf_counter() - begin}
    start = clock.perf_counter()
    draw("drawing paths", batches, draw_batch, [b.count for b in batches], options=request, report=report)
    wall["paths"] = clock.perf_counter() - start
    start = clock.perf_counter()
    report("drawing the pictures")
    summary = write_results(plan, [batch.file for batch in batches], wall, (begin, start))
    return PathsResult(folder, summary)


def _batches(plan: PathPlan) -> list[PathBatch]:
    """Batches of equal size, which do not depend on the number of processes."""
    count = plan.request.count
    number = -(-count // _BATCH)
    edges = np.linspace(0, count, number + 1).astype(int)
    return [
        PathBatch(plan.frames, plan.bridge, plan.request.out, i, int(a), count=int(b - a), seed=plan.request.seed)
        for i, (a, b) in enumerate(pairwise(edges))
    ]
