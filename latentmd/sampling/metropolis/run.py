"""Metropolis chains of a small molecule, the highest level of exactness: all frames weigh the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats, Ints
from latentmd.io.atomic import write_npz, write_text
from latentmd.io.writer import write_xtc
from latentmd.sampling.errors import Stopped
from latentmd.sampling.exactness import promise
from latentmd.sampling.hybrid.folder import CHAINS, SUMMARY, HybridFolder
from latentmd.sampling.hybrid.gate import ACCEPTED, gate_of_bursts, screen_structures
from latentmd.sampling.hybrid.starts import clock_of, first_bursts, prepare_rounds
from latentmd.sampling.hybrid.tasks import PLAN, REVIEW, keyed_rng, keyed_seed
from latentmd.sampling.metropolis.chain import Segment, run_segment
from latentmd.sampling.metropolis.moves import TorsionMove, acyclic_torsions
from latentmd.sampling.metropolis.page import write_metropolis_page
from latentmd.sampling.metropolis.populations import Populations, Samples, populations, unmet_criteria
from latentmd.sampling.metropolis.segments import SegmentFiles
from latentmd.sampling.request import HybridBudget, HybridResult, HybridRun

if TYPE_CHECKING:
    from latentmd.sampling.clock import SessionClock
    from latentmd.sampling.engine import MoleculeEngine
    from latentmd.sampling.hybrid.starts import Ready
    from latentmd.sampling.scheduler import Scheduler


LEVEL = "metropolised"
MOST_ATOMS = 40  # atoms beyond which hardly a move of all torsions at once is accepted
CHAINS_RUN = 4  # chains side by side
SWEEPS = 500  # length of a segment of each chain
_WIDTH = np.deg2rad(10.0)  # width of the kernels of the torsion move, radians
_CENTRES = 512  # most structures of each kind that kernels are put on
_STRIDE = 24  # frames of a burst per kernel


class UnsuitableError(ValueError):
    """A molecule that Metropolis moves cannot sample; the message says what to do."""


def sample_chains(run: HybridRun, tasks: Scheduler, budget: HybridBudget) -> HybridResult:
    """Sample until the populations are as precise as wanted; write `metropolised.xtc` and `.npz`, page and summary.

    The chains begin from the first of the starting structures, which are far apart.

    Args:
        run: the request and the engine.
        tasks: runs the chains side by side.
        budget: wall time for everything, over all sessions.

    Raises:
        UnsuitableError: the molecule is too large, or has no torsion to turn.
        Stopped: the run was asked to stop.
    """
    check_suitable(run.engine)
    ready = prepare_rounds(run, tasks, budget.time)
    clock, files = clock_of(run), SegmentFiles(run.folder / CHAINS, CHAINS_RUN)
    with clock.phase("kernels"):
        move = _torsion_move(run, ready, tasks)
    number = 0
    while True:
        with clock.phase(LEVEL):
            _run_segments(run, move, ready.starts, number, tasks)
        number += 1
        if files.complete(number):  # an earlier session went on
            continue
        over = clock.total >= budget.seconds
        if number < 2 or not (over or is_review(number)):
            continue
        with clock.phase(LEVEL):
            sampled = files.samples(number)
            found = populations(sampled.angles, keyed_rng(run.seed, number, REVIEW))
        missing = unmet_criteria(found, sampled.accepted[1], run.settings.precision)
        run.report(f"Metropolis chains: {_progress(found, number)}")
        if not missing or over:
            summary = _write(run, number, found, missing, clock)
            return HybridResult(run.folder, summary["status"], summary)


def check_suitable(engine: MoleculeEngine) -> None:
    """Refuse a molecule that these moves cannot sample.

    Raises:
        UnsuitableError: it has too many atoms, no torsion that can turn, or virtual sites.
    """
    system = engine.molecule.system
    atoms, advice = system.getNumParticles(), "use --exactness reweighted, with --overwrite in the same folder"
    if atoms > MOST_ATOMS:
        raise UnsuitableError(
            f"--exactness {LEVEL} draws all torsions of a molecule at once, which hardly ever fits beyond "
            f"{MOST_ATOMS} atoms; this one has {atoms}: {advice}"
        )
    if any(system.isVirtualSite(i) for i in range(atoms)):
        raise UnsuitableError(f"--exactness {LEVEL} cannot move virtual sites, which this molecule has: {advice}")
    if not len(_movable_torsions(engine)[0]):
        raise UnsuitableError(f"--exactness {LEVEL} turns bonds, and this molecule has none that can turn: {advice}")


def is_review(number: int) -> bool:
    """Whether the chains are reviewed after this many segments: after 2, and each time there are half as many more."""
    review = 2
    while review < number:
        review = -(-3 * review // 2)
    return review == number


def _movable_torsions(engine: MoleculeEngine) -> tuple[Ints, tuple[Ints, ...]]:
    from latentmd.molecule.checks import topology_arrays

    symbols, bonds = topology_arrays(engine.molecule.topology)
    return acyclic_torsions(engine.quads, bonds, len(symbols))


def _torsion_move(run: HybridRun, ready: Ready, tasks: Scheduler) -> TorsionMove:
    """Kernels on the bursts of round 0 and on structures of the surrogate that pass the gate; fixed from then on."""
    from latentmd.molecule.checks import torsions

    quads, sides = _movable_torsions(run.engine)

    def make() -> dict[str, Any]:
        run.report("choosing kernels")
        bursts = first_bursts(run, ready.core, ready.starts, tasks)
        frames = np.concatenate([burst.positions[len(burst.positions) // 2 :: _STRIDE] for burst in bursts])
        rng = keyed_rng(run.seed, 0, PLAN, 3)
        found = [torsions(rng.permutation(frames)[:_CENTRES].astype(np.float64), quads)]
        drawn = np.asarray(ready.explorer.propose(ready.starts, _CENTRES, rng))
        if len(drawn):
            gate = gate_of_bursts(ready.explorer, bursts, run.seed)
            verdicts = screen_structures(run.engine, ready.explorer, drawn, gate)
            found.append(torsions(drawn[[v == ACCEPTED for v in verdicts]].astype(np.float64), quads))
        return {"centres": np.concatenate(found), "surrogate": np.array(len(found[-1]) if len(found) > 1 else 0)}

    kept = HybridFolder(run.folder).made_once(f"{CHAINS}/centres.npz", make)
    return TorsionMove(quads, sides, kept["centres"], _WIDTH)


def _run_segments(run: HybridRun, move: TorsionMove, starts: Floats, number: int, tasks: Scheduler) -> None:
    """Run segment `number` of every chain that has no file for it yet."""
    from latentmd.molecule.checks import torsions

    files = SegmentFiles(run.folder / CHAINS, CHAINS_RUN)
    missing = [chain for chain in range(CHAINS_RUN) if not files.path(number, chain).exists()]
    work = []
    for chain in missing:
        start = files.end(number - 1, chain) if number else starts[chain % len(starts)]
        seed = keyed_seed(run.seed, number, REVIEW, 1 + chain)
        work.append(Segment(run.engine.molecule, move, start, SWEEPS, seed))
    for chain, piece in zip(missing, tasks.map(run_segment, work), strict=True):
        files.write(number, chain, piece, torsions(piece.positions, run.engine.quads))
        if run.stop():
            raise Stopped(run.folder)


def _progress(found: Populations, number: int) -> str:
    return f"{CHAINS_RUN * number * SWEEPS} sweeps, {found.effective:.0f} effective samples at least of every set"


def _write(run: HybridRun, number: int, found: Populations, missing: list[str], clock: SessionClock) -> dict[str, Any]:
    """Write frames, arrays, summary and page of the first `number` segments; returns the summary."""
    files = SegmentFiles(run.folder / CHAINS, CHAINS_RUN)
    sampled, positions = files.samples(number), files.read(number, "positions")
    chains, sweeps = sampled.energies.shape
    frames = chains * sweeps
    write_xtc(run.folder / f"{LEVEL}.xtc", positions.reshape(frames, -1, 3), np.arange(frames))
    arrays = {
        "chain": np.repeat(np.arange(chains), sweeps),
        "energy": sampled.energies.ravel(),
        "torsions": sampled.angles.reshape(frames, -1),
        "set": found.sets.ravel(),
        "weight": np.full(frames, 1.0 / frames),
    }
    write_npz(run.folder / f"{LEVEL}.npz", arrays)
    summary = _summary(run, sampled, found, missing, clock)
    write_text(run.folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
    write_metropolis_page(run, sampled, found, positions, summary)
    return summary


def _summary(
    run: HybridRun, sampled: Samples, found: Populations, missing: list[str], clock: SessionClock
) -> dict[str, Any]:
    return {
        "status": "converged" if not missing else "budget",
        "exactness": LEVEL,
        "guarantees": promise(LEVEL).guarantees,
        "remains": promise(LEVEL).remains,
        "missing": missing,
        "frames": sampled.energies.size,
        "accepted": sampled.shares,
        "effective_samples": found.effective,
        "populations": {
            f"set {i + 1}": {"value": float(p), "standard_error": float(e)}
            for i, (p, e) in enumerate(zip(found.values, found.errors, strict=True))
        },
        "mean_potential_energy": float(sampled.energies.mean()),
        "temperature": run.engine.molecule.protocol.temperature,
        "seed": run.seed,
        "model": run.model,
        "wall_seconds": {**clock.seconds, "total": round(clock.total, 1)},
        "file": f"{LEVEL}.xtc",
    }
