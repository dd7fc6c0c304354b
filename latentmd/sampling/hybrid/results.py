"""Results of a hybrid run: weights, bursts as XTC, provenance of every frame, raw surrogate frames, summary."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.io.atomic import replacing, write_npz, write_text
from latentmd.io.provenance import write_provenance
from latentmd.io.writer import FrameWriter, write_xtc
from latentmd.sampling.hybrid.folder import NO_MODEL, PROVENANCE, SUMMARY, SURROGATE, WEIGHTS

if TYPE_CHECKING:
    from latentmd.sampling.clock import Spent
    from latentmd.sampling.hybrid.rounds import Hybrid, Outcome
    from latentmd.sampling.request import HybridRun

COLUMNS = ("round", "task", "frame", "time_ps", "kind", "origin", "potential_energy", "weight")
_RAW = 500  # number of raw surrogate frames


def write_results(
    run: HybridRun, sampler: Hybrid, outcome: Outcome, spent: Spent
) -> tuple[dict[str, Any], dict[str, NDArray[Any]] | None]:
    """Write everything that a run which ended leaves, except its page.

    Args:
        run: the request and the engine.
        sampler: with all bursts.
        outcome: how the rounds ended.
        spent: what came before the rounds.

    Returns:
        The content of summary.json and of weights.npz; None for the latter where there was no review.
    """
    from latentmd.sampling.hybrid.records import summary as review_summary
    from latentmd.sampling.hybrid.store import read_arrays

    weights = read_arrays(outcome.weights) if outcome.weights is not None else None
    if weights is not None:
        write_npz(run.folder / WEIGHTS, weights)
    files = _write_bursts(run, sampler)
    if weights is not None:
        _write_provenance(run, sampler, weights)
    raw = _write_raw(run, sampler)
    progress, review = outcome.progress, outcome.progress.review
    no_model = run.folder / NO_MODEL
    summary = {
        "latentmd": version("latentmd"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": outcome.status,
        "converged": bool(review is not None and review.converged),
        "atoms": run.engine.molecule.system.getNumParticles(),
        "temperature": run.engine.molecule.protocol.temperature,
        "friction": run.engine.molecule.protocol.friction,
        "force_field": list(run.engine.molecule.protocol.force_field_files),
        "solvent": run.engine.molecule.protocol.solvent,
        "platform": run.engine.platform,
        "model": run.model,
        "no_surrogate": no_model.read_text(encoding="utf-8").strip() if no_model.exists() else None,
        "seed": run.seed,
        "rounds": progress.round + 1,
        "bursts": progress.bursts,
        "simulated_ps": {"bursts": progress.simulated, "high temperature": spent.simulated},
        "wall_seconds": {
            **spent.seconds,
            "rounds": round(progress.wall, 1),
            "total": round(progress.wall + spent.total, 1),
        },
        "gate": progress.decisions,
        "discarded_bursts": progress.discarded,
        "refined": progress.refined,
        "review": review_summary(review) if review is not None else None,
        "files": {"bursts": files, "raw surrogate frames, of no statistical meaning": raw},
    }
    write_text(run.folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return summary, weights


def _write_bursts(run: HybridRun, sampler: Hybrid) -> list[str]:
    """The bursts of each round, one after another, in bursts/round-0000.xtc; times are those within a burst."""
    folder = run.folder / "bursts"
    folder.mkdir(exist_ok=True)
    rounds: dict[int, list[int]] = {}
    for index, (number, _) in enumerate(sampler.dataset.keys):
        rounds.setdefault(number, []).append(index)
    trajectories = sampler.dataset.trajectories(skip=0)
    names = []
    for number, members in rounds.items():
        path = folder / f"round-{number:04d}.xtc"
        names.append(f"bursts/{path.name}")
        if path.exists():
            continue
        with replacing(path) as unfinished, FrameWriter(unfinished) as writer:
            for index in members:
                positions = trajectories[index]
                writer.write(positions, run.settings.interval * np.arange(len(positions)))
    return names


def _write_provenance(run: HybridRun, sampler: Hybrid, weights: dict[str, NDArray[Any]]) -> None:
    """A line per frame: where it is, how it was made, why its burst started there, its energy and weight."""
    skip = sampler.settings.relaxation
    energies = np.concatenate(sampler.dataset.energies)
    columns = (weights[name].tolist() for name in ("round", "task", "frame", "origin", "weight"))
    rows = []
    for (number, task, frame, origin, weight), energy in zip(zip(*columns, strict=True), energies, strict=False):
        kind = "relaxation" if frame < skip else "md"
        time = f"{frame * run.settings.interval:g}"
        rows.append((number, task, frame, time, kind, origin, f"{energy:.3f}", f"{weight:.6g}"))
    write_provenance(run.folder / PROVENANCE, COLUMNS, rows)


def _write_raw(run: HybridRun, sampler: Hybrid) -> str | None:
    """Structures as the surrogate in use makes them, without gate or relaxation."""
    from latentmd.sampling.hybrid.tasks import PLAN, keyed_rng

    if not run.settings.surrogate and run.model is None:
        return None
    rng = keyed_rng(run.seed, len(sampler.rounds), PLAN, 1)
    starts = np.array([sampler.dataset.frame(i, -1) for i in range(min(len(sampler.dataset), 24))])
    if not len(starts):
        return None
    raw = sampler.dataset.explorer.propose(starts, _RAW, rng)
    raw = raw[np.isfinite(raw).all(axis=(1, 2))]
    write_xtc(run.folder / SURROGATE, raw, np.arange(len(raw)))
    return SURROGATE
