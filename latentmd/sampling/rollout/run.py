"""One simulation from molecule to report: shared by `md` and `simulate`."""

from __future__ import annotations

import platform as machine
import sys
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.io.outputs import OutputFolder, Provenance
from latentmd.sampling.workers import Job, WorkerError, cores, run_jobs
from latentmd.units import format_time, parse_time

if TYPE_CHECKING:
    from latentmd.model.file import Manifest, Reference
    from latentmd.systems.builder import Molecule

Progress = Callable[[str, float, float], None]
Speed = dict[str, float]

_SMALL = 500  # atoms up to which a structure is minimised before the walkers start
_PS_PER_SECOND = 86.4  # to ns/day


class RunError(RuntimeError):
    """A run that failed; the message says why, and what was kept."""


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C during a run; the files hold every frame written so far."""

    def __init__(self, folder: Path, frames: int) -> None:
        super().__init__(f"stopped; {frames} frames are in {folder}")


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        folder: where it is.
        summary: the content of summary.json.
        trajectories: one file per walker.
        topology: PDB file.
    """

    folder: Path
    summary: dict[str, Any]
    trajectories: list[Path]
    topology: Path


@dataclass
class Plan:
    """A validated run that has written nothing yet.

    Attributes:
        command: "md" or "simulate".
        molecule: what is simulated.
        reference: minimised positions in nm, shape (atoms, 3).
        out: output folder.
        overwrite: replace an earlier run there.
        time, interval: per walker and between frames, ps.
        walkers, seed, processes: as asked for.
        platform: OpenMM platform.
        mode: alternate, latent or md.
        settings: further settings for summary.json.
        manifest, model_sha256: of the model, if one covers the molecule.
        make_jobs: the jobs, given the folder to write to.
        wall: seconds by phase so far.
    """

    command: str
    molecule: Molecule
    reference: NDArray[np.float64]
    source: Path
    out: Path
    overwrite: bool
    time: float
    interval: float
    walkers: int
    seed: int
    processes: int
    platform: str
    mode: str
    make_jobs: Callable[[Path], Sequence[Job]]
    settings: dict[str, Any] = field(default_factory=dict)
    manifest: Manifest | None = None
    model_sha256: str | None = None
    wall: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=clock.perf_counter)

    @property
    def frames(self) -> int:
        """Frames per walker."""
        return round(self.time / self.interval)


def picoseconds(value: str | float) -> float:
    """A time given as text with a unit, or as a number of ps."""
    return parse_time(value) if isinstance(value, str) else float(value)


def check_times(time: float, interval: float, timestep: float) -> None:
    """Refuse a run whose frames do not fall on steps or that ends between frames.

    Raises:
        ValueError: and what would fit.
    """
    if not _multiple(interval, timestep):
        raise ValueError(
            f"--save-every is {format_time(interval)}; expected a multiple of the time step, {format_time(timestep)}"
        )
    if not _multiple(time, interval):
        fitting = format_time(interval * max(1, round(time / interval)))
        raise ValueError(
            f"--time is {format_time(time)}; expected a multiple of --save-every, {format_time(interval)}: "
            f"try {fitting}"
        )


def _multiple(value: float, unit: float) -> bool:
    count = round(value / unit)
    return count >= 1 and abs(count * unit - value) <= 1e-6 * unit


def minimised(molecule: Molecule, platform: str) -> NDArray[np.float64]:
    """Positions in nm after minimisation; large systems keep theirs, since every walker minimises first anyway."""
    import openmm
    from openmm import unit

    if molecule.system.getNumParticles() > _SMALL:
        return np.array(molecule.positions.value_in_unit(unit.nanometer), dtype=np.float64)
    context = molecule.context(molecule.langevin(1), platform, threads=1)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=500)
    positions = context.getState(positions=True).getPositions(asNumpy=True)
    return np.array(positions.value_in_unit(unit.nanometer), dtype=np.float64)


def execute(plan: Plan, progress: Progress | None = None) -> RunResult:
    """Run the jobs of a plan and write every output.

    Raises:
        RunError: a worker or the disk failed.
        RunInterrupted: Ctrl-C.
        OutputError: the output folder cannot be used.
    """
    folder = OutputFolder(plan.out, plan.overwrite)
    run = _Run(plan, folder, progress or (lambda stage, done, total: None))
    return run.execute()


class _Run:
    def __init__(self, plan: Plan, folder: OutputFolder, progress: Progress) -> None:
        self.plan, self.folder, self.progress = plan, folder, progress
        self.total = plan.walkers * plan.time
        self.done: dict[int, int] = dict.fromkeys(range(plan.walkers), 0)
        self.speeds: list[float] = []
        self.phases: list[dict[str, float]] = []
        self.counts: dict[str, int] = {}
        self.failed_checks = 0

    def execute(self) -> RunResult:
        plan = self.plan
        self._write_topology()
        self.provenance = Provenance(self.folder.work / "provenance.csv")
        begin = clock.perf_counter()
        status, failure = "complete", ""
        try:
            self.progress("starting", 0.0, self.total)
            run_jobs(plan.make_jobs(self.folder.work), self._take)
        except KeyboardInterrupt:
            status = "interrupted"
        except (WorkerError, OSError) as error:
            status, failure = "failed", str(error)
        plan.wall["simulation"] = clock.perf_counter() - begin
        frames = sum(self.done.values())
        if not frames and status != "complete":
            self.provenance.close()
            self.folder.discard()
            if status == "failed":
                raise RunError(failure)
            raise KeyboardInterrupt
        try:
            summary = self._finish(status)
        except OSError as error:
            raise RunError(failure or str(error)) from error
        if status == "failed":
            raise RunError(f"{failure.rstrip('.')}. {frames} frames are in {self.folder.work}.")
        if status == "interrupted":
            raise RunInterrupted(self.folder.work, frames)
        return RunResult(self.folder.path, summary, self.folder.trajectories(), self.folder.topology)

    def _write_topology(self) -> None:
        import io

        from openmm import app, unit

        from latentmd.io.outputs import write_atomically

        text = io.StringIO()
        positions = self.plan.reference * unit.nanometer
        app.PDBFile.writeFile(self.plan.molecule.topology, positions, text, keepIds=True)
        write_atomically(self.folder.topology, text.getvalue())

    def _take(self, message: dict[str, Any]) -> None:
        if message["kind"] == "frames":
            rows = message["rows"]
            self.provenance.add(message["walker"], rows)
            self.done[message["walker"]] += len(rows)
            self.failed_checks += sum(bool(row[3]) for row in rows)
            self.progress("simulating", sum(self.done.values()) * self.plan.interval, self.total)
        elif message["kind"] == "speed":
            self.speeds.append(message["value"])
        elif message["kind"] == "phases":
            self.phases.append(message["seconds"])
        elif message["kind"] == "counts":
            for name in message.keys() - {"kind"}:
                self.counts[name] = self.counts.get(name, 0) + message[name]

    def _finish(self, status: str) -> dict[str, Any]:
        self.provenance.close()
        if sum(self.done.values()):
            from latentmd.sampling.rollout.report import write_report

            begin = clock.perf_counter()
            self.progress("drawing the report", self.total, self.total)
            reference = self.plan.manifest.reference if self.plan.manifest else None
            write_report(self.folder, reference, self.plan.interval)
            if status == "complete":
                self._write_page(reference, begin - self.plan.started)
            self.plan.wall["report"] = clock.perf_counter() - begin
        self.plan.wall["total"] = clock.perf_counter() - self.plan.started
        summary = self._summary(status)
        self.folder.write_summary(summary)
        if status == "complete":
            self.folder.finish()
        return summary

    def _write_page(self, reference: Reference | None, seconds: float) -> None:
        """evaluation.html of the walkers with at least two frames; a solvent box is left out, for its size."""
        trajectories = [self.folder.trajectory(walker) for walker, frames in self.done.items() if frames > 1]
        protocol = self.plan.molecule.protocol
        if not trajectories or protocol.solvent == "explicit":
            return
        from latentmd.sampling.rollout.page import write_simulation_page

        write_simulation_page(
            self.folder.work, trajectories, reference, self.plan.interval, protocol.temperature,
            title=self.folder.path.name, seconds=seconds,
        )  # fmt: skip

    def _summary(self, status: str) -> dict[str, Any]:
        plan, simulated = self.plan, sum(self.done.values()) * self.plan.interval
        protocol = {**asdict(plan.molecule.protocol), "force_field": list(plan.molecule.protocol.force_field_files)}
        inside = {name: float(np.mean([p.get(name, 0.0) for p in self.phases])) for p in self.phases for name in p}
        return {
            "latentmd": _version("latentmd"),
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "run": plan.command,
            "status": status,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "molecule": str(plan.source),
            "atoms": plan.molecule.system.getNumParticles(),
            "added_atoms": list(plan.molecule.added),
            "mode": plan.mode,
            "walkers": plan.walkers,
            "seed": plan.seed,
            "time_ps": plan.time,
            "frame_interval_ps": plan.interval,
            "simulated_ps": simulated,
            "frames": list(self.done.values()),
            "frames_failing_checks": self.failed_checks,
            **self.counts,
            **plan.settings,
            "protocol": protocol,
            "model": _model_record(plan),
            "platform": plan.platform,
            "processes": plan.processes,
            "wall_seconds": {name: round(seconds, 3) for name, seconds in plan.wall.items()},
            "wall_seconds_per_process": {name: round(seconds, 3) for name, seconds in inside.items()},
            "speed": self._speed(simulated, inside),
            "versions": {
                "python": machine.python_version(),
                **{name: _version(name) for name in ("openmm", "torch", "numpy", "mdtraj", "pdbfixer")},
            },
        }

    def _speed(self, simulated: float, inside: dict[str, float]) -> Speed:
        """Aggregate rates in ns/day; `over_plain_md` are ratios to plain MD on the same cores in the same run."""
        wall = self.plan.wall
        result: Speed = {"ns_per_day": _PS_PER_SECOND * simulated / wall["simulation"]}
        if not self.speeds or len(self.phases) < len(self.speeds):
            return result
        md = sum(self.speeds)
        work = sum(inside.values()) - inside.get("start", 0.0) - inside.get("plain MD for comparison", 0.0)
        result["plain_md_ns_per_day"] = _PS_PER_SECOND * md
        result["over_plain_md"] = simulated / work / md
        result["over_plain_md_with_start_up"] = simulated / wall["total"] / md
        if self.plan.mode == "latent":
            result["latent_rollouts_over_plain_md"] = simulated / (inside["latent steps"] + inside["decoding"]) / md
        return result


def _model_record(plan: Plan) -> dict[str, Any] | None:
    if plan.manifest is None or plan.mode == "md":
        return None
    return {"name": plan.manifest.name, "sha256": plan.model_sha256, "versions": plan.manifest.versions}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def processes_for(walkers: int, asked: int | None) -> int:
    """Worker processes: one per core at most, and no more than walkers.

    Raises:
        ValueError: fewer than one walker or process.
    """
    if walkers < 1:
        raise ValueError(f"--walkers is {walkers}; expected at least 1")
    if asked is not None and asked < 1:
        raise ValueError(f"--processes is {asked}; expected at least 1")
    return min(walkers, asked or cores())
