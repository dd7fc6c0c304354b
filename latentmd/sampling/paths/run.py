"""A run of paths: batches in worker processes, then tables, pictures and the page."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.io.atomic import write_text
from latentmd.io.folder import RunFiles, check_folder, claim_folder
from latentmd.io.provenance import read_provenance
from latentmd.sampling.errors import RunError, Stopped
from latentmd.sampling.paths.batch import Batch, draw_batch, path_file
from latentmd.sampling.paths.plan import PathPlan, make_plan
from latentmd.sampling.paths.request import PathsRequest
from latentmd.sampling.processes import LocalProcesses, WorkerError, cores
from latentmd.sampling.request import Report, no_report, picoseconds
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions

if TYPE_CHECKING:
    from latentmd.systems.builder import Molecule

FILES = RunFiles(
    "paths",
    (
        "topology.pdb", "path-*.xtc", "provenance.csv", "paths.csv", "states.csv", "summary.json", "paths.png",
        "paths.html", "state",
    ),
)  # fmt: skip
_BATCH = 125  # paths of one filter at most


@dataclass(frozen=True)
class PathsResult:
    """Finished paths.

    Attributes:
        folder: of the run.
        summary: the content of summary.json.
        trajectories: XTC files, one per path.
        topology: PDB file of the molecule.
    """

    folder: Path
    summary: dict[str, Any]
    trajectories: list[Path]
    topology: Path

    @property
    def page(self) -> Path:
        """HTML page with tables and pictures."""
        return self.folder / "paths.html"

    def provenance(self) -> dict[str, NDArray[Any]]:
        """Columns of provenance.csv, a row per frame; `walker` is the number of the path."""
        return read_provenance(self.folder / "provenance.csv")

    def __repr__(self) -> str:
        return f"PathsResult({str(self.folder)!r}, {len(self.trajectories)} paths)"


def paths(
    *pdbs: str | Path, model: str | Path | None = None, origin: int | None = None, target: int | None = None,
    time: str | float = "1ns", every: str | float = "10ps", count: int = 100, seed: int = 0,
    processes: int | None = None, out: str | Path | None = None, overwrite: bool = False, resume: bool = False,
    inputs: InputOptions = DEFAULT_INPUTS, progress: Report | None = None,
) -> PathsResult:  # fmt: skip
    """Draw transition paths between two structures, or between metastable states of a model.

    Args:
        pdbs: structures of both ends; of the first, with `target`; or none, with `origin` and `target`.
        model: name of a bundled model or path of one; the bundled one that covers the molecule where None.
        origin, target: numbers from 1 of metastable states of the model.
        time: of a path. Text with a unit, or ps.
        every: time between frames.
        count: paths.
        seed: decides all randomness.
        processes: worker processes; one per core where None.
        out: output folder; `<stem>-paths` where None.
        overwrite: replace an earlier run in `out`.
        resume: go on with the run in `out`.
        inputs: choices where a file leaves one.
        progress: called with (stage, done, total).

    Raises:
        ValueError: a setting, a file or the model is wrong, or the model does not connect the ends in that time.
        OutputError: the folder cannot be used.
        RunError: the run failed.
        RunInterrupted: Ctrl-C.
    """
    files = tuple(Path(pdb) for pdb in pdbs)
    name = None if model is None else str(model)
    stem = files[0].stem if files else Path(name or "model").stem
    request = PathsRequest(
        files, origin, target, name, time=picoseconds(time), interval=picoseconds(every), count=count, seed=seed,
        processes=processes, out=Path(f"{stem}-paths") if out is None else Path(out), overwrite=overwrite,
        resume=resume, inputs=inputs,
    )  # fmt: skip
    return run_paths(request, progress or no_report)


def run_paths(request: PathsRequest, report: Report) -> PathsResult:
    """Check a request and run it; arguments and errors as for `paths`."""
    begin = clock.perf_counter()
    check_folder(request.out, request.policy, FILES)
    if request.processes is not None and request.processes < 1:
        raise ValueError(f"--processes is {request.processes}; expected at least 1")
    report("preparing")
    plan = make_plan(request)
    with claim_folder(request.out, request.policy, FILES, plan.record()):
        return _finished(request.out) or _execute(plan, report, begin)


def _finished(folder: Path) -> PathsResult | None:
    """The run in a folder, if it is complete already."""
    path = folder / "summary.json"
    if not path.exists():
        return None
    summary = json.loads(path.read_text(encoding="utf-8"))
    return PathsResult(folder, summary, sorted(folder.glob("path-*.xtc")), folder / "topology.pdb")


def _execute(plan: PathPlan, report: Report, begin: float) -> PathsResult:
    from latentmd.sampling.paths.results import write_results

    request, folder = plan.request, plan.request.out
    write_topology(folder / "topology.pdb", plan.subject.molecule, plan.subject.reference)
    batches = _batches(plan)
    wall = {"preparation": clock.perf_counter() - begin}
    start = clock.perf_counter()
    draw_all(batches, request.processes, report)
    wall["paths"] = clock.perf_counter() - start
    start = clock.perf_counter()
    report("drawing the pictures")
    summary = write_results(plan, [batch.file for batch in batches], wall, (begin, start))
    trajectories = [path_file(folder, number) for number in range(request.count)]
    return PathsResult(folder, summary, trajectories, folder / "topology.pdb")


def _batches(plan: PathPlan) -> list[Batch]:
    """Batches of equal size, which do not depend on the number of processes."""
    count = plan.request.count
    number = -(-count // _BATCH)
    edges = np.linspace(0, count, number + 1).astype(int)
    return [
        Batch(plan.frames, plan.bridge, plan.request.out, i, int(a), count=int(b - a), seed=plan.request.seed)
        for i, (a, b) in enumerate(pairwise(edges))
    ]


def draw_all(batches: Sequence[Batch], processes: int | None, report: Report) -> None:
    """Draw the batches that no earlier run left behind.

    Args:
        batches: of the run.
        processes: worker processes; one per core where None.
        report: called with (stage, done, total).

    Raises:
        RunError: a worker or the disk failed.
        RunInterrupted: Ctrl-C.
        ValueError: no path arrives at the end.
    """
    left = [batch for batch in batches if not batch.file.exists()]
    total = sum(batch.count for batch in batches)
    done = total - sum(batch.count for batch in left)
    report("drawing paths", done, total)
    try:
        with LocalProcesses(min(processes or cores(), max(1, len(left)))) as workers:
            for batch, _ in zip(left, workers.map(draw_batch, left), strict=True):
                done += batch.count
                report("drawing paths", done, total)
    except KeyboardInterrupt:
        raise Stopped(batches[0].folder) from None
    except (WorkerError, OSError) as error:
        raise RunError(str(error)) from error


def write_topology(path: Path, molecule: Molecule, positions: Any) -> None:
    """Write the molecule as a PDB file, whole or not at all.

    Args:
        path: of the file.
        molecule: its topology.
        positions: nm, shape (atoms, 3).
    """
    import io

    from openmm import app, unit

    text = io.StringIO()
    app.PDBFile.writeFile(molecule.topology, positions * unit.nanometer, text, keepIds=True)
    write_text(path, text.getvalue())
