"""What the commands share: tasks that are kept one by one, results, and how a trajectory is filled in."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from operator import methodcaller
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Floats
from latentmd.io.atomic import replacing, write_bytes, write_json, write_npz
from latentmd.io.folder import RunFiles, check_folder, claim_folder
from latentmd.io.pdb import write_pdb
from latentmd.io.progress import Progress, quiet
from latentmd.io.provenance import COLUMNS, write_provenance
from latentmd.io.solute import Solute, read_solute, solute_reader
from latentmd.io.trajectory import Top, load_topology
from latentmd.io.writer import FrameWriter
from latentmd.model.propagator import Propagator
from latentmd.report import page as report_page
from latentmd.report.viewer import View
from latentmd.sampling.paths.decoded import KINDS, DecodedFrames
from latentmd.sampling.paths.passages import Drawn
from latentmd.sampling.paths.request import RunKeywords, Subject, shared_options
from latentmd.sampling.run.options import RunOptions, picoseconds
from latentmd.sampling.run.preparation import read_arrays
from latentmd.sampling.run.processes import LocalProcesses, WorkerError, cores
from latentmd.sampling.run.stopping import RunError, RunResult, Stopped, summary_head

_VIEWED = 150  # frames in the 3-D view


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker does and leaves in a file, of a `size` by which it counts in the report. Picklable."""

    options: RunOptions
    number: int
    size: int = 1
    name: ClassVar[str] = "part"

    @property
    def file(self) -> Path:
        """File of the frames, which is written when all of them are drawn."""
        return self.options.out / "state" / f"{self.name}-{self.number:04d}.npz"

    def run(self) -> int:
        """Draw the frames and write them; returns their number."""
        raise NotImplementedError


@dataclass(frozen=True)
class Work:
    """A checked run: JSON values that a resumed one shares, tasks, and what writes results and returns the summary."""

    subject: Subject
    record: dict[str, object]
    tasks: Sequence[Task]
    write: Callable[[], dict[str, object]]


def files_of(command: str, *own: str) -> RunFiles:
    """What a run of a command leaves in its folder, its own files among them."""
    shared = ("topology.pdb", "provenance.csv", "summary.json", "state", f"{command}.png", f"{command}.html")
    return RunFiles(command, (*shared, *own))


def carry_out(files: RunFiles, options: RunOptions, prepare: Callable[[], Work], report: Progress) -> dict[str, object]:
    """Check a run, draw what no earlier session left behind, and write every output; returns the summary."""
    begin, folder = clock.perf_counter(), options.out
    check_folder(folder, options.policy, files)
    report("preparing")
    work, noun = prepare(), "paths" if files.kind == "paths" else "frames"
    with claim_folder(folder, options.policy, files, work.record):
        if (earlier := folder / "summary.json").exists():
            return dict(json.loads(earlier.read_text(encoding="utf-8")))
        write_pdb(folder / "topology.pdb", work.subject.molecule.topology, work.subject.reference)
        (folder / "state").mkdir(exist_ok=True)
        times = [begin, clock.perf_counter()]
        _draw(f"drawing {noun}", work.tasks, options, report)
        times.append(clock.perf_counter())
        report("writing")
        summary = work.write()
        times.append(clock.perf_counter())
        wall = dict(zip(("preparation", noun, "results"), np.diff(times).tolist(), strict=True))
        wall["total"] = times[-1] - begin
        summary["wall_seconds"] = {name: round(seconds, 3) for name, seconds in wall.items()}
        write_json(folder / "summary.json", summary)
        return summary


def _draw(stage: str, tasks: Sequence[Task], options: RunOptions, report: Progress) -> None:
    left = [task for task in tasks if not task.file.exists()]
    total = sum(task.size for task in tasks)
    done = total - sum(task.size for task in left)
    report(stage, done, total)
    try:
        with LocalProcesses(min(options.processes or cores(), max(1, len(left)))) as workers:
            for task, _ in zip(left, workers.map(methodcaller("run"), left), strict=True):
                done += task.size
                report(stage, done, total)
    except KeyboardInterrupt:
        raise Stopped(options.out) from None
    except (WorkerError, OSError) as error:
        raise RunError(str(error)) from error


def frame_counts(frames: Filled | Drawn) -> dict[str, object]:
    """Entries of a summary: how the frames were made, and how many are sound."""
    made = frames.kinds != KINDS.index("given")
    return {
        "frames_relaxed": int((frames.kinds == KINDS.index("relaxed")).sum()),
        "frames_sound_before_relaxation": float(frames.sound[made].mean()) if made.any() else None,
        "frames_failing_checks": int((frames.failed != "").sum()),
    }


@dataclass(frozen=True)
class Given:
    """A trajectory: positions [frames, atoms, 3] in nm and times [frames] in ps."""

    path: Path
    positions: Floats
    times: Doubles

    @property
    def interval(self) -> float:
        """Time between frames, ps."""
        return float((self.times[-1] - self.times[0]) / (len(self.times) - 1))


def read_given(path: Path, topology: Top, interval: float | None, solute: Solute | None = None) -> Given:
    """Read a trajectory of a molecule, or of the system that a solute is cut out of, `interval` ps apart where it has
    no times; ValueError where it does not fit.
    """
    whole = load_topology(topology)
    reader, atoms = solute_reader(path, whole, solute or Solute(np.arange(whole.n_atoms), whole), interval=interval)
    spacing = reader.interval
    blocks = list(reader)
    positions = np.concatenate([block.positions[:, atoms] for block in blocks])
    if len(positions) < 2:
        raise ValueError(f"{path} has {len(positions)} frame; expected two or more")
    return Given(path, positions, blocks[0].times[0] + spacing * np.arange(len(positions)))


@dataclass(frozen=True, kw_only=True)
class FillRequest(RunOptions):
    """Options of upsampling and inpainting: a trajectory, a PDB file of its atoms, ps between frames without times."""

    trajectory: Path
    top: Path
    interval: float | None

    def given(self, subject: Subject) -> Given:
        """The trajectory, of a subject whose force field is not known without the water around it."""
        if subject.manifest.of_force_field:
            return read_given(self.trajectory, subject.molecule.topology, self.interval)
        topology, solute = read_solute(self.top, [], self.inputs.select)
        return read_given(self.trajectory, topology, self.interval, solute)


@dataclass(frozen=True, kw_only=True)
class FillPart(Task):
    """A stretch of the trajectory, whose frames a worker fills in."""

    subject: Subject

    def keep(self, frames: DecodedFrames, propagator: Propagator) -> int:
        """Write the frames; returns their number."""
        positions = {"positions": frames.positions.astype(np.float32)}
        write_npz(self.file, positions | frames.columns(self.subject, propagator))
        return len(frames.positions)


@dataclass(frozen=True)
class Filled(DecodedFrames):
    """Frames that parts left, in order, with names of the checks that each fails and its torsions in radians."""

    failed: NDArray[np.str_]
    torsions: Floats


def read_parts(parts: Sequence[Task]) -> Filled:
    """Put the frames of all parts together."""
    found = [read_arrays(part.file) for part in parts]
    return Filled(**{name: np.concatenate([part[name] for part in found]) for name in found[0]})


@dataclass(frozen=True)
class FillPlan:
    """A checked run; `describe` gives further entries of the summary, sections of the page, and a picture of frames."""

    subject: Subject
    given: Given
    parts: Sequence[Task]  # tasks, in the order of time
    times: Doubles  # of all frames, ps
    record: dict[str, object]  # JSON values of its own that a resumed run must share
    describe: Callable[[Filled], tuple[dict[str, object], list[report_page.Section], bytes]]
    title: str


@dataclass(frozen=True)
class FillResult(RunResult):
    """A filled trajectory."""

    @property
    def trajectory(self) -> Path:
        """XTC file."""
        return self.folder / f"{self.summary['run']}.xtc"


MakePlan = Callable[[FillRequest], FillPlan]


def fill(
    command: str, plan: MakePlan, files: tuple[str | Path, ...], interval: str | float | None, keywords: RunKeywords
) -> FillResult:
    """Check what a command is asked for and run it; `files`: trajectory, and PDB file of its atoms."""
    trajectory, top = map(Path, files)
    spacing = None if interval is None else picoseconds(interval)
    shared = shared_options(f"{trajectory.stem}-{command}", keywords)
    request = FillRequest(trajectory=trajectory, top=top, interval=spacing, **shared)
    own, report = files_of(command, f"{command}.xtc", "design.csv"), keywords.get("progress") or quiet
    return FillResult(request.out, carry_out(own, request, lambda: work_of(command, request, plan(request)), report))


def work_of(command: str, request: FillRequest, plan: FillPlan) -> Work:
    """What a plan of a command comes to."""
    given, model = sha256(plan.given.positions.tobytes()).hexdigest(), plan.subject.model.sha256
    record = {"command": command, "trajectory": given, **plan.record, "model": model, "seed": request.seed}
    record["protocol"] = asdict(plan.subject.molecule.protocol)
    return Work(plan.subject, record, plan.parts, lambda: _write(command, request, plan))


def _write(command: str, request: FillRequest, plan: FillPlan) -> dict[str, object]:
    folder, times, filled = request.out, plan.times, read_parts(plan.parts)
    with replacing(folder / f"{command}.xtc") as temporary, FrameWriter(temporary) as writer:
        for first in range(0, len(times), 10_000):
            writer.write(filled.positions[first : first + 10_000], times[first : first + 10_000])
    kinds = np.array(KINDS)[filled.kinds]
    rows = ((0, f"{times[k]:.10g}", kinds[k], f"{filled.energies[k]:.4f}", filled.failed[k]) for k in range(len(times)))
    write_provenance(folder / "provenance.csv", COLUMNS, rows)
    found, sections, image = plan.describe(filled)
    write_bytes(folder / f"{command}.png", image)
    sections += [report_page.Section("What was left out", " ".join(notes))] if (notes := plan.subject.notes) else []
    view = View(plan.subject.molecule.topology, [(command, filled.positions[:_VIEWED], times[:_VIEWED])])
    report_page.write_page(folder / f"{command}.html", command.capitalize(), plan.title, sections, view)
    model = {"name": plan.subject.manifest.name, "sha256": plan.subject.model.sha256}
    summary = summary_head(command) | {"trajectory": str(request.trajectory), "seed": request.seed, "model": model}
    summary |= {
        "notes": plan.subject.notes,
        "frames": len(times),
        "frames_made": int((filled.kinds != KINDS.index("given")).sum()),
    }
    return {**summary, **frame_counts(filled), **found}
