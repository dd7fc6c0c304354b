"""Structures without statistics: as the surrogate makes them, relaxed, or gated and relaxed."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from latentmd.arrays import Floats
from latentmd.io.atomic import write_text
from latentmd.io.writer import write_xtc
from latentmd.sampling.errors import RunError, Stopped
from latentmd.sampling.exactness import promise
from latentmd.sampling.hybrid.folder import NO_MODEL, SUMMARY
from latentmd.sampling.hybrid.gate import ACCEPTED, UNFAMILIAR, Gate, gate_of_bursts, screen_structures
from latentmd.sampling.hybrid.tasks import PLAN, RELAX, keyed_rng, keyed_seed, relax_all
from latentmd.sampling.request import HybridBudget, HybridResult, HybridRun

if TYPE_CHECKING:
    from latentmd.sampling.contracts import Engine
    from latentmd.sampling.hybrid.explorer import SurrogateExplorer
    from latentmd.sampling.hybrid.starts import Ready
    from latentmd.sampling.scheduler import Scheduler

StructureLevel = Literal["raw", "relaxed", "gated"]

FRAMES = 1000  # structures drawn


def sample_structures(run: HybridRun, tasks: Scheduler, budget: HybridBudget, level: StructureLevel) -> HybridResult:
    """Draw structures from the surrogate and write them with a summary.

    Args:
        run: the request and the engine.
        tasks: runs the simulations.
        budget: of simulated time, for the bursts that a model is trained on.
        level: of exactness.

    Raises:
        RunError: no surrogate could be trained.
        Stopped: the run was asked to stop.
    """
    from latentmd.sampling.hybrid.explorer import SurrogateExplorer
    from latentmd.sampling.hybrid.starts import prepare_rounds

    ready = prepare_rounds(run, tasks, budget.time)
    if not isinstance(ready.explorer, SurrogateExplorer):
        reason = (run.folder / NO_MODEL).read_text(encoding="utf-8").strip()
        raise RunError(f"--exactness {level} draws from a surrogate, and none could be trained: {reason}")
    return HybridResult(run.folder, "complete", write_structures(run, ready, ready.explorer, level, tasks))


def write_structures(
    run: HybridRun, ready: Ready, explorer: SurrogateExplorer, level: StructureLevel, tasks: Scheduler
) -> dict[str, Any]:
    """Write `<level>.xtc` with up to a thousand structures of the surrogate, and the summary, which it returns.

    Rollouts start from the starting structures and have the model's own noise.

    Args:
        run: the request and the engine.
        ready: starting structures; a gate is learned from the bursts of round 0.
        explorer: the surrogate.
        level: of exactness.
        tasks: runs relaxations.

    Raises:
        Stopped: the run was asked to stop.
    """
    from latentmd.sampling.hybrid.starts import first_bursts

    proposals = explorer.rollout(ready.starts, FRAMES, keyed_rng(run.seed, 0, PLAN, 1)).astype(np.float32)
    gate = None
    if level == "gated":
        gate = gate_of_bursts(explorer, first_bursts(run, ready.core, ready.starts, tasks), run.seed)
    verdicts = screen_structures(run.engine, explorer, proposals, gate)
    structures, energies = proposals, np.full(len(proposals), np.nan)
    if level != "raw":
        structures, energies, verdicts = _relaxed(run, proposals, verdicts, gate, tasks)
    kept = np.array([verdict == ACCEPTED for verdict in verdicts])
    write_xtc(run.folder / f"{level}.xtc", structures[kept], np.arange(np.count_nonzero(kept)))
    finite = energies[kept & np.isfinite(energies)]
    summary = {
        "status": "complete",
        "exactness": level,
        "guarantees": promise(level).guarantees,
        "remains": promise(level).remains,
        "proposals": len(proposals),
        "frames": int(np.count_nonzero(kept)),
        "structures_failing_checks": _failing(run.engine, structures, verdicts),
        "rejected": dict(Counter(v for v in verdicts if v != ACCEPTED)),
        "mean_potential_energy": float(finite.mean()) if len(finite) else None,
        "temperature": run.engine.molecule.protocol.temperature,
        "seed": run.seed,
        "model": run.model,
        "file": f"{level}.xtc",
    }
    write_text(run.folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return summary


def _failing(engine: Engine, structures: Floats, verdicts: list[str]) -> int:
    """Structures that fail a check, kept or not; those that only the gate found unfamiliar or the energy do not."""
    kept = np.array([verdict == ACCEPTED for verdict in verdicts])
    sound = np.all(list(engine.checks(structures[kept]).values()), axis=0) if kept.any() else np.empty(0, dtype=bool)
    broken = sum(verdict not in (ACCEPTED, *UNFAMILIAR) for verdict in verdicts)
    return int(np.count_nonzero(~sound)) + broken


def _relaxed(
    run: HybridRun, proposals: Floats, verdicts: list[str], gate: Gate | None, tasks: Scheduler
) -> tuple[Floats, Floats, list[str]]:
    """Structures and energies after relaxation, and verdicts with what relaxation and the gate's energy say."""
    rows = [i for i, verdict in enumerate(verdicts) if verdict == ACCEPTED]
    seeds = [keyed_seed(run.seed, 0, RELAX, i) for i in rows]
    structures, energies, final = proposals.copy(), np.full(len(proposals), np.nan), list(verdicts)
    for i, result in zip(rows, relax_all(run.engine, proposals[rows], seeds, tasks), strict=True):
        if run.stop():
            raise Stopped(run.folder)
        if isinstance(result, str):
            final[i] = result
            continue
        structures[i], energies[i] = result.positions, result.energy
        if gate is not None:
            final[i] = gate.energy(result.energy)
    return structures, energies, final
