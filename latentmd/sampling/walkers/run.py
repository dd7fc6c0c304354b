"""Execution of a plan: workers run the walkers, and every output is written whatever happens."""

from __future__ import annotations

import json
import time as clock
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from latentmd.io.formats import ascii_path
from latentmd.io.pdb import write_pdb
from latentmd.io.progress import Progress, quiet
from latentmd.io.provenance import Provenance, read_provenance
from latentmd.sampling.run.clock import Budget, Deadline
from latentmd.sampling.run.processes import LocalProcesses, WorkerError
from latentmd.sampling.run.stopping import RunError, RunInterrupted
from latentmd.sampling.walkers.folder import STATE, OutputFolder
from latentmd.sampling.walkers.plan import RolloutPlan
from latentmd.sampling.walkers.resume import StateFiles
from latentmd.sampling.walkers.summary import Tally, summarise, zero_shot_of
from latentmd.units import format_time, format_wall

_PICTURES = 1.5  # time of report.png and the page over that of the preparation, at most: much the same kind of work
_LEAST, _MOST = 1.5, 0.3  # seconds and share of the wall time that are left for them
_REPORT, _PAGE = 0.4, 2.6  # time of report.png over that of both, and of the page over that of report.png
_NO_PICTURES = "there was no time for all pictures; the same line with --resume and a longer --wall draws them"


@dataclass(frozen=True)
class RunResult:
    """A finished run of walkers.

    Attributes:
        folder: of the run.
        summary: the content of summary.json.
        trajectories: XTC files, one per walker.
        topology: PDB file of the molecule as simulated.
    """

    folder: Path
    summary: dict[str, Any]
    trajectories: list[Path]
    topology: Path

    @property
    def page(self) -> Path | None:
        """HTML page with metrics and figures; None where the run left none."""
        path = self.folder / "evaluation.html"
        return path if path.exists() else None

    def provenance(self) -> dict[str, NDArray[Any]]:
        """Columns of provenance.csv, a row per frame: walker, time_ps, kind, potential_energy, checks_failed."""
        return read_provenance(self.folder / "provenance.csv")

    def load(self, walker: int = 0) -> Any:
        """The mdtraj trajectory of a walker."""
        import mdtraj

        with ascii_path(self.trajectories[walker]) as name:
            return mdtraj.load(name, top=str(self.topology))

    def __repr__(self) -> str:
        frames = sum(self.summary["frames"])
        return f"RunResult({str(self.folder)!r}, {len(self.trajectories)} walkers, {frames} frames)"


def execute(plan: RolloutPlan, progress: Progress = quiet) -> RunResult:
    """Run the jobs of a plan and write every output; RunError where a worker or the disk failed."""
    settings = plan.settings
    with OutputFolder(settings.out, settings.policy, plan.request) as folder:
        done = _finished(folder, "complete") if settings.policy == "resume" else None
        return done or _Execution(plan, folder, progress).execute()


def _finished(folder: OutputFolder, status: str) -> RunResult | None:
    """The run in a folder, if it ended with this status already."""
    path = folder.path / "summary.json"
    if not path.exists():
        return None
    summary = json.loads(path.read_text(encoding="utf-8"))
    if summary["status"] != status:
        return None
    return _usable(RunResult(folder.path, summary, folder.trajectories(), folder.topology))


def _usable(run: RunResult) -> RunResult:
    """A complete run, refused where most frames fail their structure checks."""
    failing, frames = run.summary["frames_failing_checks"], sum(run.summary["frames"])
    if failing > frames / 2:
        raise RunError(
            f"{failing} of {frames} frames fail their structure checks: the run is not usable. Its files are in "
            f"{run.folder}; provenance.csv names the frames"
        )
    return run


class _Execution:
    def __init__(self, plan: RolloutPlan, folder: OutputFolder, progress: Progress) -> None:
        self.plan, self.folder, self.progress = plan, folder, progress
        self.total = plan.settings.walkers * plan.settings.time
        self.files = StateFiles(folder.path / STATE)
        self.budget = Budget(folder.path / STATE / "wall.json", plan.settings.wall, plan.settings.begun)
        self.states = self.files.read()
        done = {walker: state.frames for state in self.states.values() for walker in state.walkers}
        self.tally = Tally({walker: done.get(walker, 0) for walker in range(plan.settings.walkers)})
        self.tally.earlier = self.tally.total
        plan.prepared = self.files.same_preparation(plan.prepared)

    def execute(self) -> RunResult:
        plan, folder = self.plan, self.folder
        earlier = _finished(folder, "budget") if self.budget.deadline.over else None
        if earlier is not None and earlier.summary["frames"] == list(self.tally.frames.values()):
            return earlier  # without any time, its pictures stay
        self._write_topology()
        self.provenance = Provenance(folder.provenance, self.tally.frames)
        self.tally.failing = self.provenance.failing.total()
        begin = clock.perf_counter()
        status, failure = "complete", ""
        pictures = min(max(_LEAST, _PICTURES * self.budget.session), _MOST * self.budget.seconds)
        try:
            self.progress("starting", self.tally.total * plan.settings.interval, self.total)
            deadline = self.budget.deadline.earlier(pictures)
            jobs = [] if self._over(deadline) else plan.make_jobs(plan, folder.path, self.states)
            with LocalProcesses(len(jobs)) as processes:
                processes.run_jobs(jobs, self._take, lambda: self._over(deadline))
            if self.tally.total < plan.settings.walkers * plan.settings.frames:
                status = "budget"
                plan.notes.append(self._ending())
        except KeyboardInterrupt:
            status = "interrupted"
        except (WorkerError, OSError) as error:
            status, failure = "failed", str(error)
        plan.wall["simulation"] = clock.perf_counter() - begin
        frames = self.tally.total
        if not frames and status in ("interrupted", "failed"):
            self.provenance.close()
            folder.discard()
            if status == "failed":
                raise RunError(failure)
            raise KeyboardInterrupt
        try:
            with plan.alone:
                summary = self._finish(status, pictures)
        except OSError as error:
            raise RunError(failure or str(error)) from error
        if status == "failed":
            raise RunError(f"{failure.rstrip('.')}. {frames} frames are in {folder.path}.")
        if status == "interrupted":
            raise RunInterrupted(folder.path, frames)
        return _usable(RunResult(folder.path, summary, folder.trajectories(), folder.topology))

    def _write_topology(self) -> None:
        from latentmd.systems.own_force_field import write_system

        prepared = self.plan.prepared
        write_pdb(self.folder.topology, prepared.molecule.topology, prepared.reference)
        write_system(prepared.molecule, self.folder.path)

    def _take(self, message: dict[str, Any]) -> None:
        tally = self.tally
        if message["kind"] == "frames":
            rows = message["rows"]
            self.provenance.add(message["walker"], rows)
            tally.frames[message["walker"]] += len(rows)
            tally.failing += sum(bool(row[3]) for row in rows)
            self.progress("simulating", tally.total * self.plan.settings.interval, self.total)
        elif message["kind"] == "speed":
            tally.md_speeds.append(message["value"])
        elif message["kind"] == "replica speed":
            tally.replica_speeds.append(message["value"])
        elif message["kind"] == "phases":
            tally.phases.append(message["seconds"])
        elif message["kind"] == "state":  # after the lines of its frames
            state = message["state"]
            self.states[state.walkers[0]] = state
            self.files.write(state)
            self.budget.keep()

    def _over(self, deadline: Deadline) -> bool:
        """Whether walkers have to end, for pictures if there is a frame to draw, else at the very end."""
        return deadline.over and (self.tally.total > self.tally.earlier or self.budget.deadline.over)

    def _ending(self) -> str:
        """Why there are fewer frames than were asked for."""
        settings, frames = self.plan.settings, self.tally.frames
        moved = sum(count > 0 for count in frames.values())
        made = format_time(self.tally.total * settings.interval)
        return (
            f"the wall time of {format_wall(self.budget.seconds)} was over: {made} of {format_time(self.total)} are "
            f"done, and {moved} of {settings.walkers} walkers have frames; more with --resume and a longer --wall"
        )

    def _finish(self, status: str, pictures: float) -> dict[str, Any]:
        """Write the summary, then report and page as far as `pictures` seconds allow."""
        plan = self.plan
        self.provenance.close()
        self.budget.keep()
        for name in {name for state in self.states.values() for name in state.counts}:
            self.tally.counts[name] = sum(state.counts.get(name, 0) for state in self.states.values())
        if self.tally.total and plan.energies is not None:
            from latentmd.sampling.walkers.energies import in_words, judged

            plan.details["energies"] = judged(read_provenance(self.folder.provenance), plan.energies)
            plan.notes.append(in_words(plan.details["energies"]))
        summary = self._write_summary(status)
        if not self.tally.total:
            return summary
        begin = clock.perf_counter()
        self.progress("drawing the report", None, None)
        self._draw(status, pictures)
        plan.wall["report"] = clock.perf_counter() - begin
        return self._write_summary(status)

    def _write_summary(self, status: str) -> dict[str, Any]:
        self.plan.wall["total"] = self.budget.session
        summary = summarise(self.plan, self.tally, status)
        self.folder.write_summary(summary)
        return summary

    def _draw(self, status: str, pictures: float) -> None:
        """evaluation.html without figures at once where time is short, then report.png, then the page as a whole.

        A run that failed and a solvent box have no page.
        """
        from latentmd.sampling.walkers.page import PAGE, write_simulation_page
        from latentmd.sampling.walkers.report import write_report
        from latentmd.sampling.walkers.run_frames import read_run
        from latentmd.sampling.walkers.summary import next_lines, trust

        plan, protocol, deadline = self.plan, self.plan.prepared.molecule.protocol, self.budget.deadline
        reference, found = plan.reference.reference if plan.reference else None, zero_shot_of(self.folder.path)
        frames = read_run(self.folder, reference, protocol.temperature, plan.energies)
        has_page = status != "failed" and plan.prepared.molecule.box() is None

        def write_page(*more: str) -> None:
            write_simulation_page(
                frames, self.folder.path / PAGE, trust=[*plan.notes, *more, *trust(plan, found)],
                next_lines=next_lines(plan, found), seconds=self.budget.session, pictures=not more,
            )  # fmt: skip

        if has_page and self.budget.seconds < float("inf"):
            write_page(_NO_PICTURES)
        if deadline.left < _REPORT * pictures:
            plan.notes.append(_NO_PICTURES)
            return
        begin = clock.monotonic()
        write_report(frames, self.folder.path / "report.png")
        if has_page and deadline.left > _PAGE * (clock.monotonic() - begin):
            write_page()
        elif has_page:
            plan.notes.append(_NO_PICTURES)
