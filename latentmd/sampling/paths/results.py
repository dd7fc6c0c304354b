"""Results of a run of paths: what each did, the tables, summary.json, and then pictures and page."""

from __future__ import annotations

import csv
import io
import sys
import time as clock
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Doubles
from latentmd.io.atomic import write_json, write_text
from latentmd.io.provenance import write_provenance
from latentmd.sampling.paths.batch import KINDS
from latentmd.sampling.paths.page import write_page
from latentmd.sampling.paths.passages import Channel, Drawn, Passage, channels, passage, read_batches

if TYPE_CHECKING:
    from latentmd.sampling.paths.plan import PathPlan

_SHARED = 0.5  # share of different ancestors below which the summary warns that paths share their past


def write_results(
    plan: PathPlan, files: Sequence[Path], wall: dict[str, float], clocks: tuple[float, float]
) -> dict[str, Any]:
    """Write tables, pictures, page and, last, summary.json; returns its content.

    Args:
        plan: of the run.
        files: of the batches.
        wall: seconds by phase so far.
        clocks: when the run and this phase began, of `time.perf_counter`.
    """
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
    generated = drawn.kinds != KINDS.index("given")
    return {
        "latentmd": version("latentmd"), "command": [Path(sys.argv[0]).name, *sys.argv[1:]], "run": "paths",
        "status": "complete", "created": datetime.now(UTC).isoformat(timespec="seconds"),
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
        "frames": int(drawn.cells.size), "frames_relaxed": int((drawn.kinds == KINDS.index("relaxed")).sum()),
        "frames_sound_before_relaxation": float(drawn.sound[generated].mean()) if generated.any() else None,
        "frames_failing_checks": int((drawn.failed != "").sum()),
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
