"""The lower rungs of the exactness ladder: structures as the surrogate makes them, relaxed, or gated and relaxed."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from latentmd.arrays import Floats
from latentmd.io.outputs import FrameWriter, write_atomically
from latentmd.sampling.contracts import Burst
from latentmd.sampling.exactness import Exactness
from latentmd.sampling.hybrid.folder import SUMMARY
from latentmd.sampling.hybrid.gate import ACCEPTED, Gate, calibrate
from latentmd.sampling.hybrid.tasks import PLAN, RELAX, Task, keyed_rng, keyed_seed, run_relax

if TYPE_CHECKING:
    from latentmd.sampling.contracts import Explorer, Scheduler
    from latentmd.sampling.hybrid.explorer import SurrogateExplorer
    from latentmd.sampling.hybrid.run import HybridRun
    from latentmd.sampling.hybrid.settings import Settings

Level = Literal["raw", "relaxed", "gated"]

FRAMES = 1000


def write_ensemble(
    run: HybridRun, core: Settings, explorer: SurrogateExplorer, starts: Floats, level: Level, tasks: Scheduler
) -> dict[str, Any]:
    """Write `<level>.xtc` with up to a thousand structures of the surrogate, and the summary, which it returns.

    Rollouts start from the starting structures and have the model's own noise.

    Args:
        run: the request and the engine.
        core: settings of the rounds; a gate is learned from the bursts of round 0.
        explorer: the surrogate.
        starts: structures (m, atoms, 3) that rollouts begin from.
        level: raw, relaxed or gated.
        tasks: runs relaxations.

    Raises:
        Stopped: the run was asked to stop.
    """
    proposals = explorer.rollout(starts, FRAMES, keyed_rng(run.seed, 0, PLAN, 1)).astype(np.float32)
    gate = gate_of(run, explorer, first_bursts(run, core, starts, tasks)) if level == "gated" else None
    verdicts = screened(run, explorer, proposals, gate)
    structures, energies = proposals, np.full(len(proposals), np.nan)
    if level != "raw":
        structures, energies, verdicts = _relaxed(run, proposals, verdicts, gate, tasks)
    kept = np.array([verdict == ACCEPTED for verdict in verdicts])
    unfinished = run.folder / f".{level}.new.xtc"
    with FrameWriter(unfinished) as writer:
        writer.write(structures[kept], np.arange(np.count_nonzero(kept)))
    os.replace(unfinished, run.folder / f"{level}.xtc")
    rung = Exactness.named(level).value
    finite = energies[kept & np.isfinite(energies)]
    summary = {
        "status": "complete",
        "exactness": level,
        "guarantees": rung.guarantees,
        "remains": rung.remains,
        "proposals": len(proposals),
        "frames": int(np.count_nonzero(kept)),
        "rejected": dict(Counter(v for v in verdicts if v != ACCEPTED)),
        "mean_potential_energy": float(finite.mean()) if len(finite) else None,
        "temperature": run.engine.molecule.protocol.temperature,
        "seed": run.seed,
        "model": run.model,
        "file": f"{level}.xtc",
    }
    write_atomically(run.folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return summary


def first_bursts(run: HybridRun, core: Settings, starts: Floats, tasks: Scheduler) -> list[Burst]:
    """The good bursts of round 0, which are simulated where they are not there yet.

    Raises:
        BootstrapError: fewer than two are good.
        Stopped: the run was asked to stop.
    """
    from latentmd.sampling.hybrid.bootstrap import good_bursts, simulate
    from latentmd.sampling.hybrid.run import Stopped
    from latentmd.sampling.hybrid.store import Store

    store = Store(run.folder / "run", {**core.identity(), "states": None})
    first = starts[np.arange(core.starts) % len(starts)]
    if not simulate(run.engine, first, core.frames, store, 0, run.seed, tasks, run.stop):
        raise Stopped(run.folder)
    good_bursts(store, 0, core.starts, core.relaxation)
    found = [store.read_burst(0, i) for i in range(core.starts)]
    return [burst for burst in found if isinstance(burst, Burst)]


def gate_of(run: HybridRun, explorer: Explorer, bursts: Sequence[Burst]) -> Gate:
    """Limits from bursts."""
    latents = [explorer.features(burst.positions) for burst in bursts]
    rng = keyed_rng(run.seed, 0, PLAN, 2)
    return calibrate(latents, explorer.disagreement, [burst.energies for burst in bursts], rng)


def screened(run: HybridRun, explorer: Explorer, proposals: Floats, gate: Gate | None) -> list[str]:
    """Verdicts before any simulation: of the gate, or only that coordinates are finite."""
    finite = np.asarray(np.isfinite(proposals).all(axis=(1, 2)))
    if gate is None:
        return [ACCEPTED if fine else "not finite" for fine in finite]
    latents = explorer.features(proposals)
    return gate.screen(latents, explorer.disagreement(latents), run.engine.checks(proposals))


def _relaxed(
    run: HybridRun, proposals: Floats, verdicts: list[str], gate: Gate | None, tasks: Scheduler
) -> tuple[Floats, Floats, list[str]]:
    """Structures and energies after relaxation, and verdicts with what relaxation and the gate's energy say."""
    from latentmd.sampling.hybrid.run import Stopped

    rows = [i for i, verdict in enumerate(verdicts) if verdict == ACCEPTED]
    work = [Task(run.engine, proposals[i], 0, keyed_seed(run.seed, 0, RELAX, i)) for i in rows]
    structures, energies, final = proposals.copy(), np.full(len(proposals), np.nan), list(verdicts)
    for i, result in zip(rows, tasks.map(run_relax, work), strict=True):
        if run.stop():
            raise Stopped(run.folder)
        if isinstance(result, str):
            final[i] = result
            continue
        structures[i], energies[i] = result.positions, result.energy
        if gate is not None:
            final[i] = gate.energy(result.energy)
    return structures, energies, final
