"""Exact chains of a molecule, from what was asked for to frames that all weigh the same and what is said of them."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.io.atomic import write_npz, write_text
from latentmd.io.progress import Progress, quiet
from latentmd.io.writer import write_xtc
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.metropolis import plain_md
from latentmd.sampling.metropolis.conformers import basins, not_sampled, write_conformers
from latentmd.sampling.metropolis.ladders import THIN, Plan, Stretch, run_stretch
from latentmd.sampling.metropolis.page import remarks, told, write_metropolis_page
from latentmd.sampling.metropolis.pilot import TORSIONS, guess_torsions, pilot
from latentmd.sampling.metropolis.populations import Populations, populations, unmet_criteria
from latentmd.sampling.metropolis.segments import ARRAYS, CHAINS, FILES, FRAMES, SUMMARY, SWEEPS, TOPOLOGY, SegmentFiles
from latentmd.sampling.metropolis.settings import ChainsRequest, ChainsRun, Schedule
from latentmd.sampling.metropolis.wells import can_turn, turns_of, wells
from latentmd.sampling.models import ManyMolecules, Model, given_model
from latentmd.sampling.run.clock import Budget, Deadline, PhaseClock
from latentmd.sampling.run.options import OF_JUMPS, OF_WALKERS, Given, RunOptions, Way
from latentmd.sampling.run.preparation import (
    check_protocol,
    made_once,
    minimised,
    molecule_under,
    say_notes,
    write_molecule,
)
from latentmd.sampling.run.processes import cores
from latentmd.sampling.run.scheduler import Scheduler, open_scheduler
from latentmd.sampling.run.seeds import REVIEW, keyed_seed
from latentmd.sampling.run.stopping import RunResult, Stopped, session
from latentmd.systems.builder import Molecule, Protocol
from latentmd.systems.ligands import sided_bonds
from latentmd.units import format_wall

GUARANTEES = "the exact Boltzmann distribution of up to 150 atoms, by acceptance in full coordinates"
REMAINS = (
    "statistical error, and basins that no chain reached, which nothing shows; rates come from bursts. A deterministic "
    "decoder has no density in x, so that latent densities cannot judge: the proposal's own density in full "
    "coordinates does"
)
MOST_ATOMS = 150  # beyond which Hamiltonian moves and turns of whole ends of a chain are hardly accepted
TASKS = 2  # that run side by side, each with several ladders


@dataclass
class _Sampling:
    """Exact chains while they run."""

    chains: ChainsRun
    tasks: Scheduler

    def __post_init__(self) -> None:
        run = self.chains
        self.plan, sided = Plan.of(run.molecule, run.quads), sided_bonds(run.molecule.ligand)
        self.turns = turns_of(run.molecule.topology, run.reference, sided)
        self.clock = PhaseClock(run.folder / CHAINS / "seconds.json")
        self.files = SegmentFiles(run.folder / CHAINS, TASKS)
        bursts = plain_md.STARTS * plain_md.LENGTH / run.molecule.protocol.timestep  # energies of those of one task
        self.schedule = Schedule(run.budget, bursts)
        self.calls, self.told = 0, {"sweeps": 0.0}

    def run(self) -> RunResult:
        """Pilot, chains until a review finds nothing missing or time is over, and the results.

        A session without any time leaves the results of an earlier one as they are, and one that was asked to stop what
        there is.
        """
        run = self.chains
        (run.folder / CHAINS).mkdir(exist_ok=True)
        if run.budget.deadline.over and (run.folder / SUMMARY).exists():
            earlier = json.loads((run.folder / SUMMARY).read_text(encoding="utf-8"))
            return RunResult(run.folder, earlier)
        with self.clock("pilot"):
            self.choice = self._pilot()
        self.calls = int(self.choice["calls"]) + self.files.counts()[1]
        target = review_from(self.files.least)
        while True:
            with self.clock("chains"):
                over = self._sweep_to(target)
            sweeps = min(target, self.files.least)
            with self.clock("statistics"):
                angles = self.files.read(sweeps, "angles")
                found = populations(angles, wells(self.turns, angles))
            missing = unmet_criteria(found, run.request.precision)
            self._tell(found)
            if not missing or over:
                summary = self._finish(sweeps, found, missing)
                if run.stop():
                    raise Stopped(run.folder)
                return RunResult(run.folder, summary)
            target = review_from(target + 1)

    def _pilot(self) -> dict[str, Any]:
        run = self.chains

        def make() -> dict[str, object]:
            run.report("choosing kernels")
            deadline = self.schedule.pilot()
            guess, source = guess_torsions(run, self.plan) if self.schedule.loads_model() else (None, "no time for any")
            start, seed = run.reference, run.seed
            made = pilot(self.plan, start, guess, seed=seed, tasks=self.tasks, number=TASKS, deadline=deadline)
            return {**made, "source": source}

        return made_once(run.folder / CHAINS / "pilot.npz", make)

    def _sweep_to(self, target: int) -> bool:
        """Sweep until every task has `target` sweeps; whether the time was over before, or the run is to stop."""
        while behind := [task for task in range(TASKS) if self.files.sweeps(task) < target]:
            self.schedule.energies = plain_md.SHARE * self.calls / TASKS
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
        pool, weights, ends = (self.choice[name] for name in ("pool", "weights", "ends"))
        sweeps, seed = min(SWEEPS, target - done), keyed_seed(self.chains.seed, 0, REVIEW, 1 + task)
        start = ends[task] if end is None else end
        return Stretch(self.plan, pool, weights, start, sweeps=sweeps, seed=seed, first=done, deadline=deadline)

    def _tell(self, found: Populations | None) -> None:
        """Report how far the chains are: share of the wall time, and what the last review found."""
        if found is not None:
            self.told["effective samples"] = found.least if np.isfinite(found.least) else 0.0
            self.told["error (kT)"] = float(found.logit_errors[found.counted].max(initial=0.0))
        self.told["sweeps"] = float(self.files.least)
        budget = self.chains.budget
        spent, seconds = (budget.spent, budget.seconds) if np.isfinite(budget.seconds) else (None, None)
        self.chains.report("exact chains", spent, seconds, self.told)

    def _finish(self, sweeps: int, found: Populations, missing: list[str]) -> dict[str, Any]:
        """Write everything, as much of it as there is time for."""
        run, notes = self.chains, [*self.chains.molecule.notes, *self._shortened(missing)]
        stopped = Deadline(0.0) if run.stop() else None
        beside = self._control(found, stopped or self.schedule.control())
        if beside is None:
            notes.append("there was no time for plain MD beside the chains")
        angles, energies = (self.files.read(sweeps, name)[:, THIN - 1 :: THIN] for name in ("angles", "energies"))
        positions = self.files.read(sweeps, "positions")
        with self.clock("bursts for rates"):
            until = stopped or self.schedule.rates()
            rates, bursts = plain_md.measure(run, found, angles, positions, tasks=self.tasks, deadline=until)
        if len(found.counted) and bursts < TASKS * plain_md.STARTS:
            notes.append(f"there was time for {bursts} of {TASKS * plain_md.STARTS} bursts for rates")
        elif len(rates) < len(found.counted):
            notes.append(f"there was time for the rates of {len(rates)} of {len(found.counted)} states")
        _write_frames(run.folder, positions, energies, angles[:, :, : len(run.quads)])
        pictures = stopped is not None or run.budget.deadline.left > self.schedule.pictures / 2
        if not pictures:
            notes.append("there was no time for pictures; --resume with a longer --wall draws them")
        summary = self._summary(sweeps, found, missing)
        summary |= {"energies_evaluated": self.calls, "frames": energies.size, "notes": notes}
        summary["plain_md"] = None if beside is None else plain_md.as_json(beside, found)
        mean = float(energies.mean())
        summary |= {"mean_potential_energy": mean, "first_passage_ps": rates, "bursts": bursts}
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
        notes, made = [], int(self.choice["sweeps"])
        wanted = int(self.choice.get("wanted", made))
        if made < wanted:
            notes.append(f"the pilot had time for {made} of {wanted} sweeps, so that moves are accepted less often")
        if missing and not self.chains.stop():
            wall = format_wall(self.chains.budget.seconds)
            notes.append(f"the wall time of {wall} was over; more with --resume and a longer --wall")
        return notes

    def _control(self, found: Populations, deadline: Deadline) -> plain_md.Control | None:
        """Plain MD at a tenth of the energies, made again where a resumed run has gone further; None without time."""
        run = self.chains
        molecule = replace(run.molecule, protocol=replace(run.molecule.protocol, friction=plain_md.FRICTION))
        timestep = molecule.protocol.timestep
        frames = plain_md.frames_for(self.calls, TASKS, timestep)

        def make() -> dict[str, object]:
            run.report("plain MD beside them, at a tenth of the cost")
            seeds = [keyed_seed(run.seed, 0, REVIEW, 100 + task) for task in range(TASKS)]
            quads, start = self.plan.recorded, run.reference
            work = partial(plain_md.run_plain_md, molecule, quads, start, frames=frames, deadline=deadline)
            done = list(self.tasks.map(work, seeds))
            least = min(angles.shape[1] for angles, _ in done)
            angles = np.concatenate([angles[:, :least] for angles, _ in done])
            return {"angles": angles, "seconds": sum(seconds for _, seconds in done)}

        if deadline.over:
            return None
        with self.clock("plain MD"):
            path = run.folder / CHAINS / f"plain-md-{frames}.npz"
            kept = made_once(path, make, lambda made: made["angles"].shape[1] == frames)
        if kept["angles"].shape[1] < plain_md.FEWEST:
            return None
        busy = self.clock.seconds["pilot"] + self.clock.seconds["chains"]
        side_by_side = min(TASKS, self.tasks.count)
        cost = {"calls": self.calls, "seconds": busy * side_by_side, "control seconds": float(kept["seconds"])}
        return plain_md.compare(found, kept["angles"], found.wells, cost=cost, timestep=timestep)

    def _summary(self, sweeps: int, found: Populations, missing: list[str]) -> dict[str, Any]:
        run, counts = self.chains, self.files.counts()[0]
        return {
            "status": "converged" if not missing else "interrupted" if run.stop() else "budget",
            "mode": "chains", "guarantees": GUARANTEES, "remains": REMAINS, "missing": missing,
            "not_sampled": self.plan.not_sampled(), "kernels": str(self.choice["source"]),
            "temperatures": self.plan.temperatures.round(1).tolist(), "chains": TASKS * self.plan.ladders,
            "sweeps": sweeps, "accepted": counts.shares, "blocks": [list(row) for row in counts.rows()],
            "effective_samples": found.least if np.isfinite(found.least) else None, "populations": found.as_json(),
            "remarks": remarks(found), "rings_in_one_shape": found.rings_in_one_shape,
            "temperature": run.molecule.protocol.temperature, "seed": run.seed, "model": run.model,
            "processors": os.cpu_count(),
            "wall_seconds": {**self.clock.seconds, "total": round(run.budget.spent, 1)}, "file": FRAMES,
        }  # fmt: skip


def _write_frames(folder: Path, positions: Floats, energies: Floats, angles: Floats) -> None:
    """Write positions (chains, frames, atoms, 3) in nm, energies in kJ/mol and angles in radians of all chains."""
    chains, kept = energies.shape
    write_xtc(folder / FRAMES, positions.reshape(chains * kept, *positions.shape[2:]), np.arange(chains * kept))
    chain, weight = np.repeat(np.arange(chains), kept), np.full(chains * kept, 1.0 / (chains * kept))
    arrays = {"chain": chain, "energy": energies.ravel(), "torsions": angles.reshape(chains * kept, -1)}
    write_npz(folder / ARRAYS, arrays | {"weight": weight})


def unsuitable(molecule: Molecule) -> str:
    """What keeps exact chains from sampling a molecule, as the end of a sentence; empty where nothing does."""
    system, atoms = molecule.system, molecule.system.getNumParticles()
    if atoms > MOST_ATOMS:
        turns = "turns whole parts of a molecule"
        return f"{turns}, which hardly ever fits beyond {MOST_ATOMS} atoms; this one has {atoms}"
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


TEMPERATURE = 300.0  # kelvin, where neither the user nor a model names one
FRICTION = 10.0  # 1/ps, of the MD that scatters the replicas


def chains(source: Path, request: ChainsRequest, built: Molecule | None = None, report: Progress = quiet) -> RunResult:
    """Sample a molecule of a file, which may have been built already, with exact chains.

    ValueError for a setting, molecule or model that is wrong or a molecule that chains do not suit, OutputError for the
    folder, RunInterrupted after Ctrl-C or SIGTERM; resume goes on.
    """
    model = None if request.model in (None, TORSIONS) else given_model(str(request.model))
    if isinstance(model, ManyMolecules):
        raise ValueError(
            f"--mode chains takes a model of the molecule itself, and {request.model} is one of many peptides; leave "
            "out --model, since chains begin from the bundled one of many peptides wherever it covers the molecule"
        )
    protocol = protocol_of(request, model)
    content = source.read_bytes().decode("latin-1") if source.is_file() else str(source)
    name = request.model if model is None else model.name
    record: dict[str, object] = {"molecule": content, "model": name, "protocol": asdict(protocol)}
    record |= {"seed": request.seed, "precision": request.precision}
    with session(request.out, request.policy, FILES, record) as stop:
        report("preparing")
        molecule = molecule_under(protocol, source, built)
        if model is not None:
            model.check(molecule, source)
        if why := unsuitable(molecule):
            raise ValueError(f"--mode chains {why}: use --mode md")
        say_notes(molecule, source)
        run = replace(_prepared(molecule, request, model), report=report, stop=stop)
        with open_scheduler(request.scheduler, request.processes or cores()) as tasks:
            return _Sampling(run, tasks).run()


def _simulate(pdb: Path, run: RunOptions, given: Given, built: Molecule | None, report: Progress) -> RunResult:
    device = "cpu" if run.device == "auto" else run.device
    return chains(pdb, ChainsRequest(**vars(replace(run, device=device))), built, report)


WAY = Way(_simulate, ("time", *OF_WALKERS, *OF_JUMPS), "chains", told)


def protocol_of(asked: ChainsRequest, model: Model | None) -> Protocol:
    """Protocol of the chains; a model only proposes, so that it may come from other conditions."""
    given = Protocol(temperature=TEMPERATURE) if model is None else Protocol.of(model.manifest)
    kelvin = given.temperature if asked.temperature is None else asked.temperature
    files = asked.force_field or (given.force_field if asked.solvent in (None, given.solvent) else ())
    protocol = replace(given, temperature=kelvin, force_field=files, friction=FRICTION, inputs=asked.inputs)
    protocol = replace(protocol, solvent=asked.solvent or given.solvent)
    check_protocol(protocol)
    if protocol.solvent == "explicit":
        raise ValueError(
            "exact chains turn bonds of the molecule alone and cannot move the water around it; use --solvent implicit "
            "or vacuum"
        )
    return protocol


def _prepared(molecule: Molecule, request: ChainsRequest, model: Model | None) -> ChainsRun:
    """The run; its minimised positions are stored, so that a resumed one is bit-identical."""
    out = request.out
    reference = made_once(out / "molecule.npz", lambda: {"positions": minimised(molecule, "Reference")})["positions"]
    if not (out / TOPOLOGY).exists():
        write_molecule(out, molecule, reference)
    quads = rotatable_torsions(*topology_arrays(molecule.topology))
    name = request.model if model is None else model.name
    budget = Budget(out / CHAINS / "wall.json", request.wall, request.begun)
    return ChainsRun(out, molecule, quads, reference, request=request, model=name, budget=budget)
