"""What `upsample` and `inpaint` share: request, worker tasks kept part by part, and the files that they end in."""

from __future__ import annotations

import json
import sys
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Floats
from latentmd.io.atomic import replacing, write_bytes, write_json
from latentmd.io.folder import RunFiles, claim_folder
from latentmd.io.pdb import write_pdb
from latentmd.io.progress import Progress
from latentmd.io.provenance import read_provenance, write_provenance
from latentmd.io.writer import FrameWriter
from latentmd.report import page as report_page
from latentmd.report.viewer import View
from latentmd.sampling.paths.batch import KINDS
from latentmd.sampling.paths.request import Subject
from latentmd.sampling.run.options import RunOptions
from latentmd.sampling.run.processes import LocalProcesses, WorkerError, cores
from latentmd.sampling.run.stopping import RunError, Stopped

_VIEWED = 150  # frames in the 3-D view


@dataclass(frozen=True, kw_only=True)
class FillRequest(RunOptions):
    """Options that both commands share.

    Attributes:
        trajectory, top: what is given, and a PDB file of its atoms.
        interval: ps between frames, for formats without times.
    """

    trajectory: Path
    top: Path
    interval: float | None


class Part(Protocol):
    """Picklable task that leaves its frames in a file."""

    @property
    def file(self) -> Path:
        """File of the frames, which is written when all of them are drawn."""
        ...


@dataclass(frozen=True)
class Filled:
    """Frames that parts left, in order.

    Attributes:
        positions: nm, shape (frames, atoms, 3).
        kinds: numbers of `KINDS`, shape (frames,).
        energies: kJ/mol, shape (frames,).
        failed: structure checks failed, separated by spaces, shape (frames,).
        sound: whether each passed the checks before relaxation, shape (frames,).
        torsions: radians, shape (frames, torsions).
    """

    positions: Floats
    kinds: NDArray[Any]
    energies: Doubles
    failed: NDArray[Any]
    sound: NDArray[Any]
    torsions: Floats


@dataclass(frozen=True)
class FillResult:
    """A filled trajectory.

    Attributes:
        folder: of the run.
        summary: the content of summary.json.
        trajectory: XTC file.
        topology: PDB file of the molecule.
    """

    folder: Path
    summary: dict[str, Any]
    trajectory: Path
    topology: Path

    def provenance(self) -> dict[str, NDArray[Any]]:
        """Columns of provenance.csv, a row per frame."""
        return read_provenance(self.folder / "provenance.csv")


@dataclass(frozen=True)
class FillPlan:
    """A checked run of either command.

    Attributes:
        command: "upsample" or "inpaint".
        request: as asked for.
        subject: molecule and model.
        parts: tasks, in the order of time.
        fill: what a worker does with one of them; returns the number of its frames.
        times: of all frames, ps.
        record: JSON values that a resumed run must share.
        describe: from the filled frames to further entries of the summary, sections of the page and a picture.
        title: of the page.
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


def run_fill(plan: FillPlan, report: Progress, begin: float) -> FillResult:
    """Run the parts of a plan and write every output.

    Args:
        plan: what to do.
        report: called with (stage, done, total).
        begin: when the run was asked for, of `time.perf_counter`.

    Raises:
        OutputError: the folder cannot be used.
        RunError: a worker or the disk failed.
        RunInterrupted: Ctrl-C.
    """
    folder = plan.request.out
    result = FillResult(folder, {}, folder / f"{plan.command}.xtc", folder / "topology.pdb")
    with claim_folder(folder, plan.request.policy, files_of(plan.command), plan.record):
        if (folder / "summary.json").exists():
            summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
            return FillResult(folder, summary, result.trajectory, result.topology)
        write_pdb(result.topology, plan.subject.molecule.topology, plan.subject.reference)
        plan.wall["preparation"] = clock.perf_counter() - begin
        start = clock.perf_counter()
        _draw(plan, report)
        plan.wall["frames"] = clock.perf_counter() - start
        report("writing")
        filled = read_parts(plan.parts)
        with replacing(result.trajectory) as temporary, FrameWriter(temporary) as writer:
            for first in range(0, len(plan.times), 10_000):
                writer.write(filled.positions[first : first + 10_000], plan.times[first : first + 10_000])
        _write_rows(folder / "provenance.csv", filled, plan.times)
        summary = _write_page(plan, filled)
        plan.wall["total"] = clock.perf_counter() - begin
        summary["wall_seconds"] = {name: round(seconds, 3) for name, seconds in plan.wall.items()}
        write_json(folder / "summary.json", summary)
        return FillResult(folder, summary, result.trajectory, result.topology)


def _draw(plan: FillPlan, report: Progress) -> None:
    left = [part for part in plan.parts if not part.file.exists()]
    total, done = len(plan.parts), len(plan.parts) - len(left)
    (plan.request.out / "state").mkdir(exist_ok=True)
    report("drawing frames", done, total)
    try:
        with LocalProcesses(min(plan.request.processes or cores(), max(1, len(left)))) as workers:
            for _ in workers.map(plan.fill, left):
                done += 1
                report("drawing frames", done, total)
    except KeyboardInterrupt:
        raise Stopped(plan.request.out) from None
    except (WorkerError, OSError) as error:
        raise RunError(str(error)) from error


def read_parts(parts: Sequence[Part]) -> Filled:
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
    made = filled.kinds != KINDS.index("given")
    summary = {
        "latentmd": version("latentmd"), "command": [Path(sys.argv[0]).name, *sys.argv[1:]], "run": plan.command,
        "status": "complete", "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "trajectory": str(plan.request.trajectory), "seed": plan.request.seed,
        "model": {"name": manifest.name, "sha256": plan.subject.model.sha256},
        "frames": len(plan.times), "frames_made": int(made.sum()),
        "frames_relaxed": int((filled.kinds == KINDS.index("relaxed")).sum()),
        "frames_sound_before_relaxation": float(filled.sound[made].mean()) if made.any() else None,
        "frames_failing_checks": int((filled.failed != "").sum()), **found,
    }  # fmt: skip
    view = View(plan.subject.molecule.topology, [(plan.command, filled.positions[:_VIEWED], plan.times[:_VIEWED])])
    report_page.write_page(folder / f"{plan.command}.html", plan.command.capitalize(), plan.title, sections, view)
    return summary
