"""summary.json of a run of walkers: what was asked for, what was done, how fast."""

from __future__ import annotations

import json
import platform as machine
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from latentmd.model.file import package_version, read_manifest
from latentmd.model.zero_shot import next_commands, zero_shot_facts
from latentmd.sampling.models import BOUND
from latentmd.units import format_time

if TYPE_CHECKING:
    from latentmd.model.manifest import Manifest, ZeroShot
    from latentmd.sampling.walkers.plan import RolloutPlan


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
    if not plan.model.manifest.of_force_field:
        return [f"latentmd evaluate {folder} --reference HELD_OUT.xtc --top {folder}/topology.pdb"]
    every = format_time(plan.settings.interval).replace(" ", "")
    kelvin = plan.prepared.molecule.protocol.temperature
    return [
        f"latentmd md {source} --time 100ns --save-every {every} --temperature {kelvin:g} --out reference",
        f"latentmd evaluate {folder} --reference reference --top {folder}/topology.pdb",
    ]


_NS_PER_DAY = 86.4  # ns/day in one ps per second of wall time
_NOT_WORK = ("start", "plain MD for comparison")  # phases of a worker that simulate nothing


@dataclass
class Tally:
    """Counts that the workers report.

    Attributes:
        frames: by walker.
        earlier: frames that earlier sessions of the run made.
        failing: frames that fail a structure check.
        md_speeds, replica_speeds: plain MD of each worker with OpenMM and the replica engine, if it can, ps per second.
        phases: wall seconds by phase of each worker.
        counts: further counts by name.
    """

    frames: dict[int, int]
    earlier: int = 0
    failing: int = 0
    md_speeds: list[float] = field(default_factory=list)
    replica_speeds: list[float] = field(default_factory=list)
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
    simulated = tally.total * s.interval
    protocol = {
        **json.loads(json.dumps(asdict(molecule.protocol))),
        "force_field": list(molecule.protocol.force_field_files),
    }
    return {
        "latentmd": package_version("latentmd"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "run": plan.command,
        "status": status,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "molecule": str(plan.prepared.source),
        "atoms": molecule.system.getNumParticles(),
        "added_atoms": list(molecule.added),
        "own_force_field": list(molecule.own_force_field),
        "mode": s.mode,
        "walkers": s.walkers,
        "seed": s.seed,
        "time_ps": s.time,
        "frame_interval_ps": s.interval,
        "simulated_ps": simulated,
        "notes": plan.notes,
        "frames": list(tally.frames.values()),
        "frames_failing_checks": tally.failing,
        **tally.counts,
        **plan.details,
        "protocol": protocol,
        "model": _model_record(plan),
        "platform": plan.prepared.platform,
        "processes": plan.processes,
        "wall_seconds": {name: round(seconds, 3) for name, seconds in plan.wall.items()},
        "wall_seconds_per_process": {name: round(seconds, 3) for name, seconds in tally.mean_phases.items()},
        "speed": _speed(plan, tally, (tally.total - tally.earlier) * s.interval),
        "versions": {
            "python": machine.python_version(),
            **{name: package_version(name) for name in ("openmm", "torch", "numpy", "mdtraj", "pdbfixer")},
        },
    }


def _speed(plan: RolloutPlan, tally: Tally, simulated: float) -> dict[str, float]:
    """Aggregate rates in ns/day, and ratios to plain MD with OpenMM and with the replica engine on the same cores."""
    wall, inside = plan.wall, tally.mean_phases
    result = {"ns_per_day": _NS_PER_DAY * simulated / wall["simulation"]}
    if not tally.md_speeds or len(tally.phases) < len(tally.md_speeds):
        return result
    md = sum(tally.md_speeds)
    work = sum(seconds for name, seconds in inside.items() if name not in _NOT_WORK)
    result["plain_md_ns_per_day"] = _NS_PER_DAY * md
    result["over_plain_md"] = simulated / work / md
    result["over_plain_md_with_start_up"] = simulated / wall["total"] / md
    if tally.replica_speeds:
        result["replica_engine_ns_per_day"] = _NS_PER_DAY * sum(tally.replica_speeds)
        result["over_replica_engine"] = simulated / work / sum(tally.replica_speeds)
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
