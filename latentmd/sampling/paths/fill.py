"""What the commands share: tasks that are kept one by one, results, and how a trajectory is filled in."""

from __future__ import annotations

import json
import sys
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Bools, Doubles, Floats
from latentmd.io.atomic import replacing, write_bytes, write_json, write_npz
from latentmd.io.folder import RunFiles, check_folder, claim_folder
from latentmd.io.pdb import write_pdb
from latentmd.io.progress import Progress, quiet
from latentmd.io.provenance import read_provenance, write_provenance
from latentmd.io.writer import FrameWriter
from latentmd.report import page as report_page
from latentmd.report.viewer import View
from latentmd.sampling.paths.batch import KINDS, PathBatch, PathFrames, failed_checks, torsions_of
from latentmd.sampling.paths.request import RunKeywords, Subject, shared_options
from latentmd.sampling.run.options import RunOptions, picoseconds
from latentmd.sampling.run.processes import LocalProcesses, WorkerError, cores
from latentmd.sampling.run.stopping import RunError, Stopped

if TYPE_CHECKING:
    from latentmd.sampling.paths.passages import Drawn

_VIEWED = 150  # frames in the 3-D view


@dataclass(frozen=True, kw_only=True)
class FillRequest(RunOptions):
    """Options that upsampling and inpainting share: a trajectory, a PDB file of its atoms, ps between frames without
    times.
    """

    trajectory: Path
    top: Path
    interval: float | None


@dataclass(frozen=True, kw_only=True)
class FillPart:
    """Task of a worker: a stretch of the trajectory, whose frames it leaves in a file. Picklable."""

    frames: PathFrames
    folder: Path
    number: int
    seed: int

    @property
    def file(self) -> Path:
        """File of the frames, which is written when all of them are drawn."""
        return self.folder / "state" / f"part-{self.number:04d}.npz"

    def keep(self, positions: Doubles, kinds: NDArray[np.int8], energies: Doubles, sound: Bools) -> int:
        """Write the frames, as `Filled` describes them; returns their number."""
        arrays = {
            "positions": positions.astype(np.float32),
            "kinds": kinds,
            "energies": energies,
            "failed": failed_checks(positions, self.frames.template),
            "sound": sound,
            "torsions": torsions_of(positions, self.frames.torsions),
        }
        write_npz(self.file, arrays)
        return len(positions)


@dataclass(frozen=True)
class Filled:
    """Frames that parts left, in order.

    Attributes:
        positions: nm, shape (frames, atoms, 3).
        kinds: numbers of `KINDS`.
        energies: kJ/mol.
        failed: structure checks failed, separated by spaces.
        sound: whether each passed the checks before relaxation.
        torsions: radians, shape (frames, torsions).
    """

    positions: Floats
    kinds: NDArray[Any]
    energies: Doubles
    failed: NDArray[Any]
    sound: NDArray[Any]
    torsions: Floats


@dataclass(frozen=True)
class DrawnResult:
    """A finished run of any of the commands: its folder, and the content of summary.json."""

    folder: Path
    summary: dict[str, Any]

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """The run in a folder; None where it is not complete."""
        path = folder / "summary.json"
        return cls(folder, json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    @property
    def topology(self) -> Path:
        """PDB file of the molecule."""
        return self.folder / "topology.pdb"

    @property
    def page(self) -> Path:
        """HTML page with tables and pictures."""
        return self.folder / f"{self.summary['run']}.html"

    def provenance(self) -> dict[str, NDArray[Any]]:
        """Columns of provenance.csv, a row per frame; `walker` is the number of the path."""
        return read_provenance(self.folder / "provenance.csv")


@dataclass(frozen=True)
class FillResult(DrawnResult):
    """A filled trajectory."""

    @property
    def trajectory(self) -> Path:
        """XTC file."""
        return self.folder / f"{self.summary['run']}.xtc"


@dataclass(frozen=True)
class FillPlan:
    """A checked run of "upsample" or "inpaint".

    Attributes:
        parts: tasks, in the order of time.
        fill: what a worker does with one of them; returns the number of its frames.
        times: of all frames, ps.
        record: JSON values that a resumed run must share.
        describe: from the filled frames to further entries of the summary, sections of the page and a picture.
    """

    command: str
    request: FillRequest
    subject: Subject
    parts: Sequence[Any]
    fill: Callable[[Any], int]
    times: Doubles
    record: dict[str, Any]
    describe: Callable[[Filled], tuple[dict[str, Any], list[report_page.Section], bytes]]
    title: str = ""
    wall: dict[str, float] = field(default_factory=dict)


def files_of(command: str) -> RunFiles:
    """What a run of a command leaves in its folder."""
    own = (f"{command}.xtc", f"{command}.png", f"{command}.html", "design.csv")
    return RunFiles(command, ("topology.pdb", "provenance.csv", "summary.json", "state", *own))


def fill(
    command: str,
    make_plan: Callable[[FillRequest, Progress], FillPlan],
    given: tuple[str | Path, str | Path],
    interval: str | float | None,
    keywords: RunKeywords,
) -> FillResult:
    """Check what a command is asked for and run it; `given`: trajectory, and PDB file of its atoms."""
    begin, report, (trajectory, top) = clock.perf_counter(), keywords.get("progress") or quiet, map(Path, given)
    request = FillRequest(
        trajectory=trajectory,
        top=top,
        interval=None if interval is None else picoseconds(interval),
        **shared_options(f"{trajectory.stem}-{command}", keywords),
    )
    check_folder(request.out, request.policy, files_of(command))
    report("preparing")
    return run_fill(make_plan(request, report), report, begin)


Task = TypeVar("Task", PathBatch, FillPart)  # leaves a file when it is done


def run_fill(plan: FillPlan, report: Progress, begin: float) -> FillResult:
    """Run the parts of a plan and write every output; `begin`: when the run was asked for, of `time.perf_counter`."""
    folder = plan.request.out
    with claim_folder(folder, plan.request.policy, files_of(plan.command), plan.record):
        if earlier := FillResult.of(folder):
            return earlier
        write_pdb(folder / "topology.pdb", plan.subject.molecule.topology, plan.subject.reference)
        plan.wall["preparation"] = clock.perf_counter() - begin
        start = clock.perf_counter()
        (folder / "state").mkdir(exist_ok=True)
        draw("drawing frames", plan.parts, plan.fill, [1] * len(plan.parts), options=plan.request, report=report)
        plan.wall["frames"] = clock.perf_counter() - start
        report("writing")
        filled = read_parts(plan.parts)
        with replacing(folder / f"{plan.command}.xtc") as temporary, FrameWriter(temporary) as writer:
            for first in range(0, len(plan.times), 10_000):
                writer.write(filled.positions[first : first + 10_000], plan.times[first : first + 10_000])
        _write_rows(folder / "provenance.csv", filled, plan.times)
        summary = _write_page(plan, filled)
        plan.wall["total"] = clock.perf_counter() - begin
        summary["wall_seconds"] = {name: round(seconds, 3) for name, seconds in plan.wall.items()}
        write_json(folder / "summary.json", summary)
        return FillResult(folder, summary)


def draw(
    stage: str,
    tasks: Sequence[Task],
    work: Callable[[Task], int],
    sizes: Sequence[int],
    *,
    options: RunOptions,
    report: Progress,
) -> None:
    """Run the tasks that no earlier run left behind in worker processes; `sizes`: how much each counts in the
    report.
    """
    left = [(task, size) for task, size in zip(tasks, sizes, strict=True) if not task.file.exists()]
    total, done = sum(sizes), sum(sizes) - sum(size for _, size in left)
    report(stage, done, total)
    try:
        with LocalProcesses(min(options.processes or cores(), max(1, len(left)))) as workers:
            for (_, size), _ in zip(left, workers.map(work, [task for task, _ in left]), strict=True):
                done += size
                report(stage, done, total)
    except KeyboardInterrupt:
        raise Stopped(options.out) from None
    except (WorkerError, OSError) as error:
        raise RunError(str(error)) from error


def summary_head(run: str) -> dict[str, Any]:
    """First entries of a summary: versions, command line and time."""
    return {
        "latentmd": version("latentmd"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "run": run,
        "status": "complete",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def frame_counts(frames: Filled | Drawn) -> dict[str, Any]:
    """Entries of a summary: how the frames were made, and how many are sound."""
    made = frames.kinds != KINDS.index("given")
    return {
        "frames_relaxed": int((frames.kinds == KINDS.index("relaxed")).sum()),
        "frames_sound_before_relaxation": float(frames.sound[made].mean()) if made.any() else None,
        "frames_failing_checks": int((frames.failed != "").sum()),
    }


def read_parts(parts: Sequence[FillPart]) -> Filled:
    """Put the frames of all parts together."""
    found = []
    for part in parts:
        with np.load(part.file, allow_pickle=False) as file:
            found.append({name: file[name] for name in file.files})
    return Filled(**{name: np.concatenate([part[name] for part in found]) for name in found[0]})


def _write_rows(path: Path, filled: Filled, times: Doubles) -> None:
    kinds = np.array(KINDS)[filled.kinds]
    rows = zip(
        np.zeros(len(times), dtype=int), [f"{t:.10g}" for t in times], kinds,
        [f"{energy:.4f}" for energy in filled.energies], filled.failed, strict=True,
    )  # fmt: skip
    write_provenance(path, ("walker", "time_ps", "kind", "potential_energy", "checks_failed"), rows)


def _write_page(plan: FillPlan, filled: Filled) -> dict[str, Any]:
    folder, manifest = plan.request.out, plan.subject.model.manifest
    found, sections, image = plan.describe(filled)
    write_bytes(folder / f"{plan.command}.png", image)
    summary = {
        **summary_head(plan.command),
        "trajectory": str(plan.request.trajectory),
        "seed": plan.request.seed,
        "model": {"name": manifest.name, "sha256": plan.subject.model.sha256},
        "frames": len(plan.times),
        "frames_made": int((filled.kinds != KINDS.index("given")).sum()),
        **frame_counts(filled),
        **found,
    }
    view = View(plan.subject.molecule.topology, [(plan.command, filled.positions[:_VIEWED], plan.times[:_VIEWED])])
    report_page.write_page(folder / f"{plan.command}.html", plan.command.capitalize(), plan.title, sections, view)
    return summary
