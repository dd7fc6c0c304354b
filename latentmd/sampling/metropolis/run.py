"""Exact chains of a molecule: segments, reviews, and the frames, which all weigh the same."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.io.atomic import write_npz, write_text
from latentmd.io.writer import write_xtc
from latentmd.sampling.clock import SessionClock
from latentmd.sampling.errors import Stopped
from latentmd.sampling.metropolis import control
from latentmd.sampling.metropolis.folder import ARRAYS, CHAINS, FRAMES, SUMMARY, ChainsFolder
from latentmd.sampling.metropolis.guess import guess_torsions
from latentmd.sampling.metropolis.kinetics import measure
from latentmd.sampling.metropolis.ladders import THIN, Plan, Stretch, run_stretch
from latentmd.sampling.metropolis.page import remarks, write_metropolis_page
from latentmd.sampling.metropolis.pilot import pilot
from latentmd.sampling.metropolis.populations import Populations, populations, unmet_criteria
from latentmd.sampling.metropolis.segments import SegmentFiles
from latentmd.sampling.metropolis.settings import ChainsResult, ChainsRun
from latentmd.sampling.metropolis.wells import can_turn, recorded_torsions, turns_of, wells
from latentmd.sampling.seeds import REVIEW, keyed_seed

if TYPE_CHECKING:
    from latentmd.sampling.scheduler import Scheduler
    from latentmd.systems.builder import Molecule


GUARANTEES = "the exact Boltzmann distribution of up to 150 atoms, by acceptance in full coordinates"
REMAINS = (
    "statistical error, and basins that no chain reached, which nothing shows; rates come from bursts. A deterministic "
    "decoder has no density in x, so that latent densities cannot judge: the proposal's own density in full "
    "coordinates does"
)
MOST_ATOMS = 150  # beyond which Hamiltonian moves and turns of whole ends of a chain are hardly accepted
TASKS = 2  # that run side by side, each with several ladders
SWEEPS = 100  # of a segment
_RESERVED = 0.25  # of the wall budget: plain MD beside the chains, bursts for rates, files and page


class UnsuitableError(ValueError):
    """A molecule that exact chains cannot sample; the message says what to do."""


def sample_chains(run: ChainsRun, tasks: Scheduler) -> ChainsResult:
    """Sample until the populations are as precise as wanted; write `metropolised.xtc` and `.npz`, page and summary.

    Args:
        run: molecule and request.
        tasks: runs the ladders side by side.

    Raises:
        Stopped: the run was asked to stop.
    """
    budget = run.request.seconds
    plan, turns = Plan.of(run.molecule, run.quads), turns_of(run.molecule.topology, run.reference)
    (run.folder / CHAINS).mkdir(exist_ok=True)
    clock, files = SessionClock(run.folder / CHAINS / "seconds.json"), SegmentFiles(run.folder / CHAINS, TASKS)
    with clock.phase("pilot"):
        choice = _pilot(run, plan, tasks)
    number, limit = 0, (1 - _RESERVED) * budget
    while True:
        with clock.phase("chains"):
            _run_segment(run, plan, choice, number, tasks)
        number += 1
        if files.complete(number):  # an earlier session went on
            continue
        over = clock.total >= limit
        if number < 2 or not (over or is_review(number)):
            continue
        with clock.phase("statistics"):
            angles = files.read(number, "angles")
            found = populations(angles, wells(turns, angles))
        missing = unmet_criteria(found, run.request.precision)
        run.report(_progress(found, number, clock.total, budget))
        if not missing or over:
            calls = files.counts(number)[1] + int(choice["calls"])
            beside = _control(run, found, calls, clock, tasks)
            summary = _write(run, number, found, missing, clock=clock, calls=calls, beside=beside, tasks=tasks)
            return ChainsResult(run.folder, summary["status"], summary)


def check_suitable(molecule: Molecule) -> None:
    """Refuse a molecule that these moves cannot sample.

    Raises:
        UnsuitableError: it has too many atoms, no torsion that can turn, or virtual sites.
    """
    why = unsuitable(molecule)
    if why:
        raise UnsuitableError(f"--mode chains {why}: use --mode md")


def unsuitable(molecule: Molecule) -> str:
    """What keeps exact chains from sampling a molecule, as the end of a sentence; empty where nothing does."""
    system = molecule.system
    atoms = system.getNumParticles()
    if atoms > MOST_ATOMS:
        return (
            f"turns whole parts of a molecule, which hardly ever fits beyond {MOST_ATOMS} atoms; this one has {atoms}"
        )
    if any(system.isVirtualSite(i) for i in range(atoms)):
        return "cannot move virtual sites, which this molecule has"
    if not can_turn(molecule.topology):
        return "turns bonds, and this molecule has none that can turn"
    return ""


def is_review(number: int) -> bool:
    """Whether the chains are reviewed after this many segments: after 2, and each time there are half as many more."""
    review = 2
    while review < number:
        review = -(-3 * review // 2)
    return review == number


def _pilot(run: ChainsRun, plan: Plan, tasks: Scheduler) -> dict[str, Any]:
    def make() -> dict[str, Any]:
        run.report("choosing kernels")
        guess, source = guess_torsions(run, plan)
        made = pilot(plan, run.reference, guess, seed=run.seed, tasks=tasks, number=TASKS)
        return {
            "pool": made.pool, "weights": made.weights, "ends": made.ends, "calls": np.array(made.calls),
            "source": np.array(source),
        }  # fmt: skip

    return ChainsFolder(run.folder).made_once(f"{CHAINS}/pilot.npz", make)


def _run_segment(run: ChainsRun, plan: Plan, choice: dict[str, Any], number: int, tasks: Scheduler) -> None:
    """Run segment `number` of every task that has no file for it yet."""
    files = SegmentFiles(run.folder / CHAINS, TASKS)
    missing = [task for task in range(TASKS) if not files.path(number, task).exists()]
    work = []
    for task in missing:
        start = files.end(number - 1, task) if number else choice["ends"][task]
        seed = keyed_seed(run.seed, number, REVIEW, 1 + task)
        work.append(Stretch(plan, choice["pool"], choice["weights"], start, sweeps=SWEEPS, seed=seed))
    for task, piece in zip(missing, tasks.map(run_stretch, work), strict=True):
        files.write(number, task, piece)
        if run.stop():
            raise Stopped(run.folder)


def _progress(found: Populations, number: int, seconds: float, limit: float) -> str:
    left = "" if limit == float("inf") else f" of {limit:.0f}"
    worst = found.logit_errors[found.counted].max(initial=0.0)
    known = "no well between 1 and 99 % yet"
    if np.isfinite(found.least):
        known = f"at least {found.least:.0f} effective samples of a state, largest error {worst:.2f} kT"
    return f"exact chains: {number * SWEEPS} sweeps, {known}, {seconds:.0f}{left} s"


def _control(run: ChainsRun, found: Populations, calls: int, clock: SessionClock, tasks: Scheduler) -> control.Control:
    """Plain MD at a tenth of the energies; made again where a resumed run has gone further."""
    protocol = replace(run.molecule.protocol, friction=control.FRICTION)
    molecule = replace(run.molecule, protocol=protocol)
    recorded = recorded_torsions(molecule.topology, run.quads)
    frames = control.frames_for(calls, TASKS, protocol.timestep)

    def make() -> dict[str, Any]:
        run.report("plain MD beside them, at a tenth of the cost")
        work = [
            control.PlainMD(molecule, recorded, run.reference, frames, keyed_seed(run.seed, 0, REVIEW, 100 + task))
            for task in range(TASKS)
        ]
        done = list(tasks.map(control.run_plain_md, work))
        return {"angles": np.concatenate([a for a, _ in done]), "seconds": np.array(sum(s for _, s in done))}

    with clock.phase("plain MD"):
        kept = ChainsFolder(run.folder).made_once(f"{CHAINS}/plain-md-{frames}.npz", make)
    busy = clock.seconds["pilot"] + clock.seconds["chains"]
    cost = {"calls": calls, "seconds": busy * _side_by_side(tasks), "control seconds": float(kept["seconds"])}
    return control.compare(found, kept["angles"], found.wells, cost=cost, timestep=protocol.timestep)


def _side_by_side(tasks: Scheduler) -> int:
    """How many tasks a scheduler runs at a time, as far as it matters here."""
    return min(TASKS, getattr(tasks, "count", 1))


def _write(
    run: ChainsRun, number: int, found: Populations, missing: list[str], *, clock: SessionClock, calls: int,
    beside: control.Control, tasks: Scheduler,
) -> dict[str, Any]:  # fmt: skip
    """Write frames, arrays, summary and page of the first `number` segments; returns the summary."""
    files = SegmentFiles(run.folder / CHAINS, TASKS)
    angles, energies = (files.read(number, name)[:, THIN - 1 :: THIN] for name in ("angles", "energies"))
    positions = files.read(number, "positions")
    with clock.phase("bursts for rates"):
        rates, bursts = measure(run, found, angles, positions, folder=run.folder / CHAINS, tasks=tasks)
    chains, kept = energies.shape
    write_xtc(run.folder / FRAMES, positions.reshape(chains * kept, *positions.shape[2:]), np.arange(chains * kept))
    arrays = {
        "chain": np.repeat(np.arange(chains), kept),
        "energy": energies.ravel(),
        "torsions": angles.reshape(chains * kept, -1)[:, : len(run.quads)],
        "weight": np.full(chains * kept, 1.0 / (chains * kept)),
    }
    write_npz(run.folder / ARRAYS, arrays)
    summary = _summary(run, files, number, found, missing=missing, clock=clock)
    summary |= {"energies_evaluated": calls, "frames": chains * kept, "plain_md": control.as_json(beside, found)}
    summary |= {"mean_potential_energy": float(energies.mean()), "first_passage_ps": rates, "bursts": bursts}
    write_text(run.folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
    write_metropolis_page(run, angles, positions, found=found, beside=beside, summary=summary)
    return summary


def _summary(
    run: ChainsRun, files: SegmentFiles, number: int, found: Populations, *, missing: list[str], clock: SessionClock
) -> dict[str, Any]:
    counts, plan = files.counts(number)[0], Plan.of(run.molecule, run.quads)
    with np.load(run.folder / CHAINS / "pilot.npz", allow_pickle=False) as kept:
        source = str(kept["source"])
    return {
        "status": "converged" if not missing else "budget",
        "mode": "chains",
        "guarantees": GUARANTEES,
        "remains": REMAINS,
        "missing": missing,
        "not_sampled": plan.not_sampled(),
        "kernels": source,
        "temperatures": plan.temperatures.round(1).tolist(),
        "chains": TASKS * plan.ladders,
        "sweeps": number * SWEEPS,
        "accepted": counts.shares,
        "blocks": [list(row) for row in counts.rows()],
        "effective_samples": found.least if np.isfinite(found.least) else None,
        "populations": {
            well.name: {
                "value": float(found.values[i]),
                "standard_error": float(found.errors[i]),
                "effective_samples": float(found.effective[i]),
                "in_words": found.share(i),
                "degrees": [well.low, well.high],
                "period": well.turn.period,
            }
            for i, well in enumerate(found.wells)
        },
        "remarks": remarks(found),
        "temperature": run.molecule.protocol.temperature,
        "seed": run.seed,
        "model": run.model,
        "processors": os.cpu_count(),
        "wall_seconds": {**clock.seconds, "total": round(clock.total, 1)},
        "file": FRAMES,
    }
