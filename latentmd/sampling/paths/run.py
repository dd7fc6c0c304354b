"""A run of paths: batches in worker processes, then trajectories, tables, pictures and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Unpack

import numpy as np
import torch

from latentmd.core.paths.filters import PinnedPaths
from latentmd.io.atomic import write_csv, write_npz
from latentmd.io.progress import quiet
from latentmd.io.provenance import write_provenance
from latentmd.io.writer import write_xtc
from latentmd.sampling.paths.decoded import KINDS, laid_on, path_file, structures
from latentmd.sampling.paths.fill import Task, Work, carry_out, files_of, frame_counts
from latentmd.sampling.paths.moves import steps_of
from latentmd.sampling.paths.page import write_page
from latentmd.sampling.paths.passages import Drawn, Outcome, read_batches
from latentmd.sampling.paths.plan import PathPlan, make_plan
from latentmd.sampling.paths.request import PathsRequest, RunKeywords, shared_options
from latentmd.sampling.run.options import picoseconds
from latentmd.sampling.run.seeds import numbered_streams
from latentmd.sampling.run.stopping import RunResult, summary_head

FILES = files_of("paths", "path-*.xtc", "paths.csv", "states.csv")
_BATCH = 125  # paths of one filter at most
_LEAST_SPARE = 32  # particles more than paths
_SHARED = 0.5  # share of different ancestors below which the summary warns that paths share their past


@dataclass(frozen=True, kw_only=True)
class PathBatch(Task):
    """Paths that one particle filter draws, as many as its size from path `first` of the run on."""

    plan: PathPlan
    first: int
    name: ClassVar[str] = "batch"

    def run(self) -> int:
        """Draw, decode, relax and write the paths; returns the number of their frames."""
        plan, count = self.plan, self.size
        subject, request, propagator = plan.subject, plan.request, plan.subject.propagator()
        rng, generator, _ = numbered_streams(request.seed, self.number)
        steps = steps_of(propagator, plan.chain.partition, plan.lag)
        particles = max(count + _LEAST_SPARE, round(steps.spare * count))
        starts = torch.from_numpy(plan.starts[rng.integers(len(plan.starts), size=particles)])
        end = None if plan.ends[1].point is None else torch.from_numpy(plan.ends[1].point)
        filtered = PinnedPaths(steps, torch.from_numpy(plan.bridge.h).float())
        drawn = filtered.sample(starts, end, count, particles, generator)
        slow = drawn.paths[:, :: plan.every]
        shape, flat = slow.shape[:2], slow.flatten(0, 1)
        made = structures(subject, propagator, flat, rng)
        for given, place in zip(plan.ends, (0, shape[1] - 1), strict=True):
            if given.structure is not None:
                rows = slice(place, None, shape[1])
                made.positions[rows] = laid_on(given.structure[None], subject)[0]
                made.kinds[rows] = KINDS.index("given")
                made.energies[rows] = subject.energies(given.structure[None])
        times = request.interval * np.arange(shape[1])
        for offset, path in enumerate(made.positions.reshape(*shape, -1, 3)):
            write_xtc(path_file(request.out, self.first + offset), path, times)
        frames = {"cells": steps.cell(flat).numpy(), "slow": flat.numpy(), **made.columns(subject, propagator)}
        self.file.parent.mkdir(exist_ok=True)
        arrays: dict[str, object] = {name: v.reshape(*shape, *v.shape[1:]) for name, v in frames.items()}
        arrays |= {"log_likelihood": drawn.log_likelihood, "effective": drawn.effective.numpy() / particles}
        write_npz(self.file, arrays | {"ancestors": drawn.ancestors})
        return len(flat)


def write_results(plan: PathPlan, files: Sequence[Path]) -> dict[str, object]:
    """Write tables, pictures and page of batches in files; returns the content of summary.json."""
    found = Outcome(plan, read_batches(files))
    log_probability = plan.guide.log_probabilities(found.drawn.cells)
    _write_frames(found)
    rows = []
    for n, p in enumerate(found.passages):
        leaves, arrives = (f"{plan.request.interval * k:.10g}" for k in (p.leaves, p.arrives))
        states, weight = " ".join(str(s + 1) for s in p.channel), f"{found.drawn.weight[n]:.6g}"
        rows.append((n, weight, f"{log_probability[n]:.4f}", states, leaves, arrives if p.arrives >= 0 else ""))
    columns = ("path", "weight", "ln_probability", "states", "leaves_ps", "arrives_ps")
    write_csv(plan.request.out / "paths.csv", columns, rows)
    summary = _summary(found, float(np.average(log_probability, weights=found.drawn.weight)))
    write_page(found, summary)
    return summary


def _write_frames(found: Outcome) -> None:
    drawn, request = found.drawn, found.plan.request
    count, frames = drawn.cells.shape
    kinds = np.array(KINDS)[drawn.kinds]
    shares = [f"{w / frames:.6g}" for w in drawn.weight]
    times = [f"{request.interval * k:.10g}" for k in range(frames)]
    rows = (
        (n, times[k], kinds[n, k], f"{drawn.energies[n, k]:.4f}", drawn.failed[n, k], shares[n])
        for n, k in np.ndindex(count, frames)
    )
    columns = ("walker", "time_ps", "kind", "potential_energy", "checks_failed", "weight")
    write_provenance(request.out / "provenance.csv", columns, rows)


def _summary(found: Outcome, mean_log_probability: float) -> dict[str, object]:
    plan, drawn, request, chain = found.plan, found.drawn, found.plan.request, found.plan.chain
    frames = found.states.shape[1]
    visited = np.bincount(found.states.ravel(), np.repeat(drawn.weight / frames, frames), len(chain.populations))
    lengths = [request.interval * (p.arrives - p.leaves) for p in found.passages if p.arrives >= 0]
    return {
        **summary_head("paths"),
        "ends": [end.name for end in plan.ends], "end_states": [end.state + 1 for end in plan.ends],
        "time_ps": request.time, "frame_interval_ps": request.interval, "paths": request.count,
        "seed": request.seed, "model": {"name": plan.subject.manifest.name, "sha256": plan.subject.model.sha256},
        "log_probability_of_end": {
            "chain of cells": plan.log_reach, "model": drawn.log_likelihood,
            "model_is": "probability" if plan.ends[1].point is None else "density in the slow axes",
        },
        "independent_paths": found.effective, "least_effective_share": drawn.effective,
        "mean_ln_probability": mean_log_probability,
        "channels": [{"states": way.name, "paths": way.count, "share": way.share, "low": way.low, "high": way.high}
                     for way in found.ways],
        "mean_transition_ps": float(np.mean(lengths)) if lengths else None,
        "states": [{"state": i + 1, "population": float(share), "share_of_path_frames": float(visited[i]), "at": label}
                   for i, (share, label) in enumerate(zip(chain.populations, plan.labels, strict=True))],
        "frames": int(drawn.cells.size), **frame_counts(drawn), "notes": _notes(plan, drawn),
    }  # fmt: skip


def _notes(plan: PathPlan, drawn: Drawn) -> list[str]:
    notes, count = plan.subject.notes, plan.request.count
    if len(plan.subject.structures) == 2 and plan.ends[1].structure is None:
        notes.append(
            "The model has no density, so that paths are pinned to the cell of B, one of "
            f"{len(plan.chain.stationary)}, and not to B itself: their last frames are drawn as the others are."
        )
    if drawn.ancestors < _SHARED * count:
        notes.append(
            f"The {count} paths have {drawn.ancestors} different ones in their middle: the filter had to repeat paths, "
            "so that shares are less certain than their number says. Take a longer time or more paths."
        )
    return notes


@dataclass(frozen=True)
class PathsResult(RunResult):
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
    length, interval, shared = picoseconds(time), picoseconds(every), shared_options(f"{stem}-paths", keywords)
    request = PathsRequest(
        pdbs=files, origin=origin, target=target, count=count, time=length, interval=interval, **shared
    )

    def prepare() -> Work:
        plan = make_plan(request)
        edges = np.linspace(0, count, -(-count // _BATCH) + 1).astype(int).tolist()  # whatever the number of processes
        batch = partial(PathBatch, options=request, plan=plan)
        batches = [batch(number=i, first=a, size=b - a) for i, (a, b) in enumerate(pairwise(edges))]
        return Work(plan.subject, plan.record(), batches, lambda: write_results(plan, [b.file for b in batches]))

    return PathsResult(request.out, carry_out(FILES, request, prepare, keywords.get("progress") or quiet))
