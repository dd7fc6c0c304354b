"""Exact chains of a molecule: segments, reviews, and the frames, which all weigh the same."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.io.atomic import write_npz, write_text
from latentmd.io.writer import write_xtc
from latentmd.sampling.metropolis import control, kinetics
from latentmd.sampling.metropolis.conformers import basins, not_sampled, write_conformers
from latentmd.sampling.metropolis.control import SHARE
from latentmd.sampling.metropolis.folder import ARRAYS, CHAINS, FRAMES, SUMMARY, SWEEPS, ChainsFolder, SegmentFiles
from latentmd.sampling.metropolis.kinetics import energies_of_bursts, measure
from latentmd.sampling.metropolis.ladders import THIN, Plan, Stretch, run_stretch
from latentmd.sampling.metropolis.page import remarks, write_metropolis_page
from latentmd.sampling.metropolis.pilot import SWEEPS as PILOT_SWEEPS
from latentmd.sampling.metropolis.pilot import guess_torsions, pilot
from latentmd.sampling.metropolis.populations import Populations, populations, unmet_criteria
from latentmd.sampling.metropolis.schedule import Schedule
from latentmd.sampling.metropolis.settings import ChainsResult, ChainsRun
from latentmd.sampling.metropolis.wells import can_turn, turns_of, wells
from latentmd.sampling.run.clock import Deadline, SessionClock
from latentmd.sampling.run.seeds import REVIEW, keyed_seed
from latentmd.sampling.run.stopping import Stopped
from latentmd.units import format_wall

if TYPE_CHECKING:
    from latentmd.sampling.run.scheduler import Scheduler
    from latentmd.systems.builder import Molecule


GUARANTEES = "the exact Boltzmann distribution of up to 150 atoms, by acceptance in full coordinates"
REMAINS = (
    "statistical error, and basins that no chain reached, which nothing shows; rates come from bursts. A deterministic "
    "decoder has no density in x, so that latent densities cannot judge: the proposal's own density in full "
    "coordinates does"
)
MOST_ATOMS = 150  # beyond which Hamiltonian moves and turns of whole ends of a chain are hardly accepted
TASKS = 2  # that run side by side, each with several ladders


class UnsuitableError(ValueError):
    """A molecule that exact chains cannot sample; the message says what to do."""


def sample_chains(run: ChainsRun, tasks: Scheduler) -> ChainsResult:
    """Sample until the populations are as precise as wanted, and write the results; Stopped leaves what there was."""
    (run.folder / CHAINS).mkdir(exist_ok=True)
    return _Sampling(run, tasks).run()


@dataclass
class _Sampling:
    """Exact chains while they run."""

    chains: ChainsRun
    tasks: Scheduler

    def __post_init__(self) -> None:
        run = self.chains
        self.folder = ChainsFolder(run.folder)
        self.plan, self.turns = Plan.of(run.molecule, run.quads), turns_of(run.molecule.topology, run.reference)
        self.clock = SessionClock(run.folder / CHAINS / "seconds.json")
        self.files = SegmentFiles(run.folder / CHAINS, TASKS)
        self.schedule = Schedule(run.budget, energies_of_bursts(run.molecule.protocol.timestep))
        self.calls, self.told = 0, {"sweeps": 0.0}

    def run(self) -> ChainsResult:
        """Pilot, chains until a review finds nothing missing or time is over, and the results.

        A session without any time leaves the results of an earlier one as they are.
        """
        run = self.chains
        if run.budget.deadline.over and (run.folder / SUMMARY).exists():
            earlier = json.loads((run.folder / SUMMARY).read_text(encoding="utf-8"))
            return ChainsResult(run.folder, earlier["status"], earlier)
        with self.clock.phase("pilot"):
            self.choice = self._pilot()
        self.calls = int(self.choice["calls"]) + self.files.counts()[1]
        target = review_from(self.files.least)
        while True:
            with self.clock.phase("chains"):
                over = self._sweep_to(target)
            sweeps = min(target, self.files.least)
            with self.clock.phase("statistics"):
                angles = self.files.read(sweeps, "angles")
                found = populations(angles, wells(self.turns, angles))
            missing = unmet_criteria(found, run.request.precision)
            self._tell(found)
            if not missing or over:
                summary = self._finish(sweeps, found, missing)
                if run.stop():
                    raise Stopped(run.folder)
                return ChainsResult(run.folder, summary["status"], summary)
            target = review_from(target + 1)

    def _pilot(self) -> dict[str, Any]:
        run = self.chains

        def make() -> dict[str, Any]:
            run.report("choosing kernels")
            deadline = self.schedule.pilot()
            guess, source = guess_torsions(run, self.plan) if self.schedule.loads_model() else (None, "no time for any")
            made = pilot(
                self.plan, run.reference, guess, seed=run.seed, tasks=self.tasks, number=TASKS, deadline=deadline
            )
            return {
                "pool": made.pool, "weights": made.weights, "ends": made.ends, "calls": np.array(made.calls),
                "source": np.array(source), "sweeps": np.array(made.sweeps),
            }  # fmt: skip

        return self.folder.made_once(f"{CHAINS}/pilot.npz", make)

    def _sweep_to(self, target: int) -> bool:
        """Sweep until every task has `target` sweeps; whether the time was over before, or the run is to stop."""
        while behind := [task for task in range(TASKS) if self.files.sweeps(task) < target]:
            self.schedule.energies = SHARE * self.calls / TASKS
            deadline = self.schedule.segment()
            if self.files.least and (deadline.over or self.chains.stop()):
                return True
            begin, work = time.monotonic(), [self._stretch(task, target, deadline) for task in behind]
            calls = []
            for task, piece in zip(behind, self.tasks.map(run_stretch, work), strict=True):
                self.files.write(task, piece)
                calls.append(piece.calls)
            self.calls += sum(calls)
            self.schedule.rate = min(calls) / (time.monotonic() - begin)
            self.chains.budget.keep()
            self._tell(None)
        return self.schedule.chains().over or self.chains.stop()

    def _stretch(self, task: int, target: int, deadline: Deadline) -> Stretch:
        done, end = self.files.sweeps(task), self.files.end(task)
        return Stretch(
            self.plan, self.choice["pool"], self.choice["weights"], self.choice["ends"][task] if end is None else end,
            sweeps=min(SWEEPS, target - done), seed=keyed_seed(self.chains.seed, 0, REVIEW, 1 + task), first=done,
            deadline=deadline,
        )  # fmt: skip

    def _tell(self, found: Populations | None) -> None:
        """Report how far the chains are: share of the wall time, and what the last review found."""
        if found is not None:
            self.told["effective samples"] = found.least if np.isfinite(found.least) else 0.0
            self.told["error (kT)"] = float(found.logit_errors[found.counted].max(initial=0.0))
        self.told["sweeps"] = float(self.files.least)
        budget = self.chains.budget
        limited = np.isfinite(budget.seconds)
        self.chains.report(
            "exact chains", budget.spent if limited else None, budget.seconds if limited else None, self.told
        )

    def _finish(self, sweeps: int, found: Populations, missing: list[str]) -> dict[str, Any]:
        """Write everything, as much of it as there is time for."""
        run, notes = self.chains, [*self.chains.molecule.notes, *self._shortened(missing)]
        stopped = Deadline(0.0) if run.stop() else None
        beside = self._control(found, stopped or self.schedule.control())
        if beside is None:
            notes.append("there was no time for plain MD beside the chains")
        angles, energies = (self.files.read(sweeps, name)[:, THIN - 1 :: THIN] for name in ("angles", "energies"))
        positions = self.files.read(sweeps, "positions")
        with self.clock.phase("bursts for rates"):
            rates, bursts = measure(
                run, found, angles, positions, folder=run.folder / CHAINS, tasks=self.tasks,
                deadline=stopped or self.schedule.rates(),
            )  # fmt: skip
        if len(found.counted) and bursts < TASKS * kinetics.STARTS:
            notes.append(f"there was time for {bursts} of {TASKS * kinetics.STARTS} bursts for rates")
        elif len(rates) < len(found.counted):
            notes.append(f"there was time for the rates of {len(rates)} of {len(found.counted)} states")
        _write_frames(run.folder, positions, energies, angles[:, :, : len(run.quads)])
        pictures = stopped is not None or run.budget.deadline.left > self.schedule.pictures / 2
        if not pictures:
            notes.append("there was no time for pictures; --resume with a longer --wall draws them")
        summary = self._summary(sweeps, found, missing) | {
            "energies_evaluated": self.calls, "frames": energies.size, "notes": notes,
            "plain_md": None if beside is None else control.as_json(beside, found),
            "mean_potential_energy": float(energies.mean()), "first_passage_ps": rates, "bursts": bursts,
        }  # fmt: skip
        if run.molecule.ligand:
            write_conformers(run, basins(found, angles), positions, energies)
            summary["not_sampled"] += not_sampled(run.molecule.ligand)
        write_text(run.folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
        run.report("writing the page")
        write_metropolis_page(run, angles, positions, found=found, beside=beside, summary=summary, pictures=pictures)
        run.budget.keep()
        return summary

    def _shortened(self, missing: list[str]) -> list[str]:
        """Sentences on what the wall time cut short so far."""
        notes, wanted = [], sum(PILOT_SWEEPS)
        made = int(self.choice["sweeps"])
        if made < wanted:
            notes.append(f"the pilot had time for {made} of {wanted} sweeps, so that moves are accepted less often")
        if missing and not self.chains.stop():
            wall = format_wall(self.chains.budget.seconds)
            notes.append(f"the wall time of {wall} was over; more with --resume and a longer --wall")
        return notes

    def _control(self, found: Populations, deadline: Deadline) -> control.Control | None:
        """Plain MD at a tenth of the energies, made again where a resumed run has gone further; None without time."""
        run = self.chains
        molecule = replace(run.molecule, protocol=replace(run.molecule.protocol, friction=control.FRICTION))
        timestep = molecule.protocol.timestep
        frames = control.frames_for(self.calls, TASKS, timestep)

        def make() -> dict[str, Any]:
            run.report("plain MD beside them, at a tenth of the cost")
            seeds = [keyed_seed(run.seed, 0, REVIEW, 100 + task) for task in range(TASKS)]
            work = [
                control.PlainMD(molecule, self.plan.recorded, run.reference, frames, seed, deadline=deadline)
                for seed in seeds
            ]
            done = list(self.tasks.map(control.run_plain_md, work))
            least = min(angles.shape[1] for angles, _ in done)
            angles = np.concatenate([angles[:, :least] for angles, _ in done])
            return {"angles": angles, "seconds": np.array(sum(seconds for _, seconds in done))}

        if deadline.over:
            return None
        with self.clock.phase("plain MD"):
            kept = self.folder.made_once(
                f"{CHAINS}/plain-md-{frames}.npz", make, lambda made: made["angles"].shape[1] == frames
            )
        if kept["angles"].shape[1] < control.FEWEST:
            return None
        busy = self.clock.seconds["pilot"] + self.clock.seconds["chains"]
        side_by_side = min(TASKS, self.tasks.count)
        cost = {"calls": self.calls, "seconds": busy * side_by_side, "control seconds": float(kept["seconds"])}
        return control.compare(found, kept["angles"], found.wells, cost=cost, timestep=timestep)

    def _summary(self, sweeps: int, found: Populations, missing: list[str]) -> dict[str, Any]:
        run, counts = self.chains, self.files.counts()[0]
        return {
            "status": "converged" if not missing else "interrupted" if run.stop() else "budget",
            "mode": "chains",
            "guarantees": GUARANTEES,
            "remains": REMAINS,
            "missing": missing,
            "not_sampled": self.plan.not_sampled(),
            "kernels": str(self.choice["source"]),
            "temperatures": self.plan.temperatures.round(1).tolist(),
            "chains": TASKS * self.plan.ladders,
            "sweeps": sweeps,
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
            "rings_in_one_shape": found.rings_in_one_shape,
            "temperature": run.molecule.protocol.temperature,
            "seed": run.seed,
            "model": run.model,
            "processors": os.cpu_count(),
            "wall_seconds": {**self.clock.seconds, "total": round(run.budget.spent, 1)},
            "file": FRAMES,
        }


def _write_frames(folder: Path, positions: Floats, energies: Floats, angles: Floats) -> None:
    """Write positions (chains, frames, atoms, 3) in nm, energies in kJ/mol and angles in radians of all chains."""
    chains, kept = energies.shape
    write_xtc(folder / FRAMES, positions.reshape(chains * kept, *positions.shape[2:]), np.arange(chains * kept))
    arrays = {
        "chain": np.repeat(np.arange(chains), kept),
        "energy": energies.ravel(),
        "torsions": angles.reshape(chains * kept, -1),
        "weight": np.full(chains * kept, 1.0 / (chains * kept)),
    }
    write_npz(folder / ARRAYS, arrays)


def check_suitable(molecule: Molecule) -> None:
    """Refuse, with UnsuitableError, a molecule with too many atoms, no torsion that can turn, or virtual sites."""
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


def review_from(sweeps: int) -> int:
    """Sweeps of the next review: after 200, and each time there are half as many more."""
    review = 2
    while review * SWEEPS < sweeps:
        review = -(-3 * review // 2)
    return review * SWEEPS
