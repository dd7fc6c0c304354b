"""Execution of a plan: workers run the walkers, and every output, summary.json too, is written whatever happens."""

from __future__ import annotations

import json
import platform as machine
import time as clock
from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, cast

import numpy as np
from mdtraj import Topology

from latentmd.analysis.features import EvaluationError
from latentmd.io.atomic import write_json
from latentmd.io.folder import claim_folder
from latentmd.io.progress import Progress, quiet
from latentmd.io.provenance import Provenance, read_provenance
from latentmd.io.trajectory_file import TrajectoryError
from latentmd.model.file import package_version, read_manifest
from latentmd.model.manifest import Manifest, ZeroShot
from latentmd.model.zero_shot import next_commands, zero_shot_facts
from latentmd.report.page import Section
from latentmd.sampling.models import BOUND, OneMolecule, moves_alone
from latentmd.sampling.run.clock import Budget, Deadline
from latentmd.sampling.run.preparation import write_molecule
from latentmd.sampling.run.processes import LocalProcesses, WorkerError
from latentmd.sampling.run.stopping import RunError, RunInterrupted, RunResult, summary_head, walker_files
from latentmd.sampling.walkers import folder as files
from latentmd.sampling.walkers.energies import in_words, judged, left_data, left_in_words, mended
from latentmd.sampling.walkers.plan import RolloutPlan
from latentmd.units import format_time, format_wall


def trust(plan: RolloutPlan, found: ZeroShot | None) -> list[str]:
    """Sentences on where the frames come from and what may be concluded from them, for a model of many by nearness."""
    if plan.model is None:
        files = ", ".join(plan.prepared.molecule.protocol.force_field_files)
        own = ", ".join(plan.prepared.molecule.own_force_field)
        return [f"plain MD with the force field of {own or files}; no model made any frame"]
    accepted = "latent steps are accepted as they come, so that populations and times are the model's"
    if found is not None:
        return [*zero_shot_facts(found), accepted]
    manifest = cast("Manifest", plan.model.manifest)  # a model of many says how near the molecule is
    name, frames = manifest.name, manifest.reference.frames
    trained = f"the model {name} was trained on MD of this molecule" + (f", {frames:,} frames" if frames else "")
    return [trained, f"{accepted}; `latentmd inspect {name}` has how near they came to MD"]


def next_lines(plan: RolloutPlan, found: ZeroShot | None) -> list[str]:
    """Commands to go on with."""
    file, folder = Path(plan.prepared.source), quote(str(plan.settings.out))
    source = quote(str(file))
    if plan.model is None:
        return [f"latentmd train {folder}/walker-*.xtc --top {folder}/topology.pdb --out {quote(file.stem)}.pt"]
    if found is not None:
        return next_commands(found, str(file))
    if moves_alone(plan.model):
        return [f"latentmd evaluate {folder} --reference HELD_OUT.xtc --top {folder}/topology.pdb"]
    every = format_time(plan.settings.interval).replace(" ", "")
    kelvin = plan.prepared.molecule.protocol.temperature
    return [
        f"latentmd md {source} --time 100ns --save-every {every} --temperature {kelvin:g} --out reference",
        f"latentmd evaluate {folder} --reference reference --top {folder}/topology.pdb",
    ]


_PACKAGES = ("openmm", "torch", "numpy", "mdtraj", "pdbfixer")  # whose versions are written down
_NS_PER_DAY = 86.4  # ns/day in one ps per second of wall time
_NOT_WORK = ("start", "plain MD for comparison")  # phases of a worker that simulate nothing


@dataclass
class Tally:
    """Counts that the workers report.

    Attributes:
        frames, earlier: by walker, and how many earlier sessions of the run made.
        failing: frames that fail a structure check.
        speeds: of plain MD of each worker with "OpenMM" and, if it can, the "replica engine", ps per second.
        phases: wall seconds by phase of each worker.
    """

    frames: dict[int, int]
    earlier: int = 0
    failing: int = 0
    speeds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    phases: list[dict[str, float]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Frames of all walkers."""
        return sum(self.frames.values())

    @property
    def mean_phases(self) -> dict[str, float]:
        """Wall seconds by phase, mean over the workers."""
        return {name: float(np.mean([p.get(name, 0.0) for p in self.phases])) for p in self.phases for name in p}


def summarise(plan: RolloutPlan, tally: Tally, status: str) -> dict[str, Any]:
    """Content of summary.json; the status is "complete", "budget", "interrupted" or "failed"."""
    s, molecule = plan.settings, plan.prepared.molecule
    protocol = {
        **json.loads(json.dumps(asdict(molecule.protocol))),
        "force_field": list(molecule.protocol.force_field_files),
    }
    return {
        **summary_head(plan.command, status),
        "molecule": str(plan.prepared.source), "atoms": molecule.system.getNumParticles(),
        "added_atoms": list(molecule.added), "own_force_field": list(molecule.own_force_field),
        "mode": s.mode, "walkers": s.walkers, "seed": s.seed, "time_ps": s.time, "frame_interval_ps": s.interval,
        "simulated_ps": tally.total * s.interval, "notes": plan.notes, "frames": list(tally.frames.values()),
        "frames_failing_checks": tally.failing, **tally.counts, **plan.details, "protocol": protocol,
        "model": _model_record(plan), "platform": plan.prepared.platform, "processes": plan.processes,
        "wall_seconds": {name: round(seconds, 3) for name, seconds in plan.wall.items()},
        "wall_seconds_per_process": {name: round(seconds, 3) for name, seconds in tally.mean_phases.items()},
        "speed": _speed(plan, tally, (tally.total - tally.earlier) * s.interval),
        "versions": {"python": machine.python_version()} | {name: package_version(name) for name in _PACKAGES},
    }  # fmt: skip


def _speed(plan: RolloutPlan, tally: Tally, simulated: float) -> dict[str, float]:
    """Aggregate rates in ns/day, and ratios to plain MD with OpenMM and with the replica engine on the same cores."""
    wall, inside = plan.wall, tally.mean_phases
    result = {"ns_per_day": _NS_PER_DAY * simulated / wall["simulation"]}
    if not tally.speeds or len(tally.phases) < len(tally.speeds["OpenMM"]):
        return result
    md, replicas = (sum(tally.speeds.get(engine, ())) for engine in ("OpenMM", "replica engine"))
    work = sum(seconds for name, seconds in inside.items() if name not in _NOT_WORK)
    result["plain_md_ns_per_day"] = _NS_PER_DAY * md
    result["over_plain_md"] = simulated / work / md
    result["over_plain_md_with_start_up"] = simulated / wall["total"] / md
    if replicas:
        result["replica_engine_ns_per_day"] = _NS_PER_DAY * replicas
        result["over_replica_engine"] = simulated / work / replicas
    if plan.settings.mode == "latent":
        result["latent_rollouts_over_plain_md"] = simulated / (inside["latent steps"] + inside["decoding"]) / md
    return result


def _model_record(plan: RolloutPlan) -> dict[str, Any] | None:
    if plan.model is None:
        return None
    manifest = plan.model.manifest
    record = {"name": manifest.name, "sha256": plan.model.sha256, "versions": manifest.versions}
    found = zero_shot_of(plan.settings.out)
    return record | ({} if found is None else {"zero_shot": found.model_dump()})


def zero_shot_of(folder: Path) -> ZeroShot | None:
    """How near a run's molecule is to what its model was trained on; None for a model of that molecule alone."""
    path = folder / BOUND
    return read_manifest(path).zero_shot if path.exists() else None


_PICTURES = 1.5  # time of report.png and the page over that of the preparation, at most: much the same kind of work
_LEAST, _MOST = 1.5, 0.3  # seconds and share of the wall time that are left for them
_REPORT, _PAGE = 0.4, 2.6  # time of report.png over that of both, and of the page over that of report.png
_NO_PICTURES = "there was no time for all pictures; the same line with --resume and a longer --wall draws them"


def execute(plan: RolloutPlan, progress: Progress = quiet) -> RunResult:
    """Run the jobs of a plan and write every output; RunError where a worker or the disk failed."""
    settings = plan.settings
    try:
        with claim_folder(settings.out, settings.policy, files.WALKERS, plan.request):
            done = _finished(settings.out, "complete") if settings.policy == "resume" else None
            return done or _Execution(plan, progress).execute()
    finally:
        with suppress(OSError):  # where there is anything in it
            settings.out.rmdir()


def _finished(folder: Path, status: str) -> RunResult | None:
    """The run in a folder, if it ended with this status already."""
    path = folder / files.SUMMARY
    summary = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"status": "none"}
    return _usable(RunResult(folder, summary)) if summary["status"] == status else None


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
    def __init__(self, plan: RolloutPlan, progress: Progress) -> None:
        self.plan, self.folder, self.progress = plan, plan.settings.out, progress
        self.total = plan.settings.walkers * plan.settings.time
        self.budget = Budget(self.folder / files.STATE / "wall.json", plan.settings.wall, plan.settings.begun)
        self.states = files.read_states(self.folder)
        done = {walker: state.frames for state in self.states.values() for walker in state.walkers}
        self.tally = Tally({walker: done.get(walker, 0) for walker in range(plan.settings.walkers)})
        self.tally.earlier = self.tally.total
        plan.prepared = files.same_preparation(self.folder, plan.prepared)

    def execute(self) -> RunResult:
        plan, folder = self.plan, self.folder
        earlier = _finished(folder, "budget") if self.budget.deadline.over else None
        if earlier is not None and earlier.summary["frames"] == list(self.tally.frames.values()):
            return earlier  # without any time, its pictures stay
        write_molecule(folder, plan.prepared.molecule, plan.prepared.reference)
        self.provenance = Provenance(folder / files.PROVENANCE, self.tally.frames)
        self.tally.failing = self.provenance.failing.total()
        begin = clock.perf_counter()
        status, failure = "complete", ""
        pictures = min(max(_LEAST, _PICTURES * self.budget.session), _MOST * self.budget.seconds)
        try:
            first = "equilibrating" if "equilibration_ps" in plan.details and not self.tally.total else "starting"
            self.progress(first, self.tally.total * plan.settings.interval, self.total)
            deadline = self.budget.deadline.earlier(pictures)
            with plan.alone:
                jobs = [] if self._over(deadline) else plan.make_jobs(plan, folder, self.states)
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
            files.WALKERS.remove(folder)
            if status == "failed":
                raise RunError(failure)
            raise KeyboardInterrupt
        try:
            with plan.alone:
                summary = self._finish(status, pictures)
        except OSError as error:
            raise RunError(failure or str(error)) from error
        if status == "failed":
            raise RunError(f"{failure.rstrip('.')}. {frames} frames are in {folder}.")
        if status == "interrupted":
            raise RunInterrupted(folder, frames)
        return _usable(RunResult(folder, summary))

    def _take(self, message: dict[str, Any]) -> None:
        tally = self.tally
        if message["kind"] == "frames":
            rows = message["rows"]
            self.provenance.add(message["walker"], rows)
            tally.frames[message["walker"]] += len(rows)
            tally.failing += sum(bool(row[3]) for row in rows)
            self.progress("simulating", tally.total * self.plan.settings.interval, self.total)
        elif message["kind"] == "speed":
            tally.speeds[message["engine"]].append(message["value"])
        elif message["kind"] == "phases":
            tally.phases.append(message["seconds"])
        elif message["kind"] == "state":  # after the lines of its frames
            state = message["state"]
            self.states[state.walkers[0]] = state
            files.write_state(self.folder, state)
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
            plan.details["energies"] = judged(read_provenance(self.folder / files.PROVENANCE), plan.energies)
            plan.notes.append(in_words(plan.details["energies"]))
        bonded = plan.reference is not None and plan.reference.training.get("bonded")
        if self.tally.total and bonded and plan.settings.settle:
            plan.notes.append(mended(read_provenance(self.folder / files.PROVENANCE)))
        if self.tally.total and plan.settings.mode == "latent" and plan.reference and plan.reference.landmarks:
            plan.details["left_the_data"] = left_data(read_provenance(self.folder / files.PROVENANCE))
            plan.notes.append(left_in_words(plan.details["left_the_data"]))
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
        write_json(self.folder / files.SUMMARY, summary)
        return summary

    def _draw(self, status: str, pictures: float) -> None:
        """evaluation.html without figures at once where time is short, then report.png, then the page as a whole.

        A run that failed and a solvent box have no page.
        """
        from latentmd.sampling.walkers.page import pictures as drawn  # loads matplotlib
        from latentmd.sampling.walkers.page import write_report, write_simulation_page
        from latentmd.sampling.walkers.run_frames import read_run

        plan, protocol, deadline = self.plan, self.plan.prepared.molecule.protocol, self.budget.deadline
        reference, found = plan.reference.reference if plan.reference else None, zero_shot_of(self.folder)
        frames = read_run(self.folder, reference, protocol.temperature, plan.energies)
        has_page = status != "failed" and plan.prepared.molecule.box() is None

        def write_page(*more: str) -> None:
            write_simulation_page(
                frames, self.folder / files.PAGE, trust=[*plan.notes, *more, *trust(plan, found)],
                next_lines=next_lines(plan, found), seconds=self.budget.session,
                drawn=[] if more else [*self._states(frames.topology), *drawn(frames)],
            )  # fmt: skip

        if has_page and self.budget.seconds < float("inf"):
            write_page(_NO_PICTURES)
        if deadline.left < _REPORT * pictures:
            plan.notes.append(_NO_PICTURES)
            return
        begin = clock.monotonic()
        write_report(frames, self.folder / files.REPORT)
        if has_page and deadline.left > _PAGE * (clock.monotonic() - begin):
            write_page()
        elif has_page:
            plan.notes.append(_NO_PICTURES)

    def _states(self, topology: Topology) -> list[Section]:
        """Metastable states of rollouts of a model of own trajectories; of short runs none."""
        model, files = self.plan.model, walker_files(self.folder)
        if not isinstance(model, OneMolecule) or not moves_alone(model):
            return []
        from latentmd.evaluation.states import states_of_run

        lag = float((model.manifest.training.get("seen") or {}).get("lag", 0.0))
        try:
            found = states_of_run(files, topology, lag, model.manifest.temperature)
        except (EvaluationError, TrajectoryError):
            return []
        return [found.section(self.folder)]
