"""MD in explicit water with a bias on slow torsions, or with jumps of them by turns: populations with errors.

request.json         what the run was asked for
topology.pdb         the molecule without its water
solute.xtc           its frames, which weigh the same: one for each ps of MD, or a draw of those by their weights
biased.xtc, weights.txt   every frame, one for each ps of MD, and the weights that take the bias out
system.pdb, .xtc     every frame with the water, on request
jumps.csv            every jump: torsions, length, work, acceptance
jumps/               exact chains in implicit solvent, pilot and segments
summary.json, free_energy.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import softmax

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.integrators.openmm_selection import sub_topology
from latentmd.integrators.torsion_jumps import Jump, JumpReport
from latentmd.io.atomic import write_npz, write_text
from latentmd.io.folder import RunFiles, check_folder
from latentmd.io.pdb import write_pdb
from latentmd.io.progress import Progress, quiet
from latentmd.io.writer import FrameWriter, write_xtc
from latentmd.molecule.checks import topology_arrays, torsions
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.jumps.results import equal_frames, summary_of, told, weighted_populations, write_jumps_page
from latentmd.sampling.jumps.slow import biased_blocks, slow_blocks, turning
from latentmd.sampling.jumps.walk import FRAME, Stint, Walk
from latentmd.sampling.metropolis.run import TASKS, TEMPERATURE, chains
from latentmd.sampling.metropolis.segments import CHAINS, SegmentFiles
from latentmd.sampling.metropolis.settings import ChainsRequest
from latentmd.sampling.metropolis.wells import can_turn, recorded_torsions, turns_of, wells
from latentmd.sampling.run.clock import Budget, Deadline, PhaseClock
from latentmd.sampling.run.options import OF_JUMPS, OF_WALKERS, Given, RunOptions, Way
from latentmd.sampling.run.preparation import Arrays, Prepared, check_protocol, made_once, prepare, read_arrays
from latentmd.sampling.run.processes import cores
from latentmd.sampling.run.seeds import REVIEW, keyed_seed
from latentmd.sampling.run.stopping import RunResult, Stopped, session
from latentmd.systems.builder import Molecule, build
from latentmd.systems.ligands import sided_bonds
from latentmd.systems.names import IONS, WATER
from latentmd.systems.parametrise import barostat_fault, thermostat_fault
from latentmd.systems.protocol import Protocol, without_water
from latentmd.units import format_wall

WORK, SUMMARY, PAGE = "jumps", "summary.json", "free_energy.html"
_BIASED = "biased.xtc", "weights.txt"
_OWN = WORK, SUMMARY, PAGE, "topology.pdb", "solute.xtc", *_BIASED, "jumps.csv", "system.xtc", "system.pdb"
FILES = RunFiles("jumps", _OWN)
_WALL = 7200.0  # seconds where the user names none
_SHARE, _IMPLICIT = 0.1, 120.0  # of what is left, for each stage before the sampling; most seconds of exact chains
_FINE = 0.05  # kT of the chains, whose density has to reach up barriers
_EQUILIBRATION, _PILOT, _LEAST = 100.0, 1000.0, 1.0  # ps, at most and at least
_TRIPS, _SHORTEST = 20, 0.2  # ways that tuning makes at least, and ps of each
_FEWEST = 4  # frames of a segment
_INTERVAL = 0.2  # ps between frames of the pilot
_SEGMENT, _LONGEST = 5.0, 60.0  # seconds of a segment at the least, a tenth of what is spent, and at the most
_FREE = "MD turns every torsion often enough: neither bias nor jumps"
_PICTURES = 3.0, 0.02  # kept for files and page: seconds, and share of the whole


@dataclass(frozen=True, kw_only=True)
class JumpsRequest(RunOptions):
    """Options of explicit water: a bias or jumps, plain MD beside at equal cost, and frames of the whole system."""

    bias: bool = True
    compare: bool = False
    whole: bool = False


def jumps(source: Path, request: JumpsRequest, report: Progress = quiet) -> RunResult:
    """Sample a molecule of a file in explicit water until the wall time is over.

    ValueError for a setting or molecule that is wrong, or too little time for the pilot, OutputError for the folder,
    RunInterrupted after Ctrl-C or SIGTERM; resume goes on.
    """
    kelvin = TEMPERATURE if request.temperature is None else request.temperature
    protocol = Protocol("explicit", request.force_field, temperature=kelvin, inputs=request.inputs)
    check_protocol(protocol)
    check_folder(request.out, request.policy, FILES)
    report("building the box of water")
    prepared = prepare(build(source, protocol), source, request.processes or cores())
    solute = _solute(prepared.molecule)
    _refuse_short(prepared, request)
    content = source.read_bytes().decode("latin-1") if source.is_file() else str(source)
    record = {"molecule": content, "protocol": asdict(protocol), "seed": request.seed}
    record |= {"compare": request.compare, "whole": request.whole, "bias": request.bias}
    with session(request.out, request.policy, FILES, record) as stop:
        return _Jumping(prepared, solute, request, report, stop).run()


def _simulate(
    bias: bool, pdb: Path, run: RunOptions, given: Given, built: Molecule | None, report: Progress
) -> RunResult:
    if run.model is not None or run.solvent not in (None, "explicit"):
        raise ValueError("--mode bias and jumps are for explicit water and take no model; leave --model and --solvent")
    options = vars(replace(run, wall=_WALL if run.wall is None else run.wall)) | {"bias": bias}
    options |= {name: bool(given[name]) for name in OF_JUMPS}
    return jumps(pdb, JumpsRequest(**options), report)


_UNUSED = "time", "scheduler", *OF_WALKERS
BIAS, JUMPS = (Way(partial(_simulate, bias), _UNUSED, name, told) for bias, name in ((True, "bias"), (False, "jumps")))


def _solute(molecule: Molecule) -> Ints:
    """Atoms that are neither water nor ions; ValueError where they cannot turn, or something else sets the box."""
    others, topology = WATER | IONS, molecule.topology
    solute = [atom.index for atom in topology.atoms() if atom.residue.name not in others]
    if fault := thermostat_fault(molecule.system) or barostat_fault(molecule.system):
        raise ValueError(fault)
    if not can_turn(sub_topology(topology, solute)):
        raise ValueError("no bond of the molecule can turn, so that nothing is slow; use --mode md")
    return np.array(solute)


def _refuse_short(prepared: Prepared, request: JumpsRequest) -> None:
    """Refuse a wall time that is too short for the pilot, before anything is written."""
    wall, rate = request.wall, prepared.rate * prepared.molecule.protocol.timestep
    least = _LEAST / (_SHARE * rate) + time.monotonic() - request.begun
    if wall is not None and wall < least and not (request.out / WORK / "pilot.npz").exists():
        raise ValueError(
            f"--wall is {format_wall(wall)}, and {prepared.molecule.topology.getNumAtoms()} atoms move {rate:.2g} ps a "
            f"second here, so that equilibration and pilot need {format_wall(1.2 * least)}; give that or more"
        )


@dataclass
class _Jumping:
    """A run of jumps."""

    prepared: Prepared
    solute: Ints
    request: JumpsRequest
    report: Progress
    stop: Callable[[], bool]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.work, self.timestep = self.request.out / WORK, self.prepared.molecule.protocol.timestep
        self.work.mkdir(exist_ok=True)
        self.budget = Budget(self.work / "wall.json", self.request.wall, self.request.begun)
        self.clock = PhaseClock(self.work / "seconds.json")
        self.topology = sub_topology(self.prepared.molecule.topology, self.solute.tolist())
        sided = sided_bonds(self.prepared.molecule.ligand)  # their side would be turned over by a bias or jumps
        self.turns = turns_of(self.topology, self.prepared.reference[self.solute], sided)
        self.quads = rotatable_torsions(*topology_arrays(self.topology))
        self.recorded = recorded_torsions(self.topology, self.quads)

    def run(self) -> RunResult:
        """Everything, or what is missing of an earlier session."""
        with self.clock("exact chains in implicit solvent"):
            samples = self._implicit()
        with self.clock("equilibration and pilot"):
            place = self._pilot()
        angles, known = place["angles"], () if samples is None else wells(self.turns, samples)
        self.found = turning(self.turns, known, angles, _INTERVAL * len(angles))
        slow, quads = {name: slow for name, (slow, _) in self.found.items()}, self.solute[self.quads]
        self.biased = samples is not None and self.request.bias
        if samples is not None and self.biased:
            biased, above = biased_blocks(self.turns, quads, slow, samples)
            names = ", ".join(block.name for block in biased)
            lowered = f"what exact chains in implicit solvent have above {above:g} kT in the torsions of {names}"
            self.notes.append(f"a bias lowers {lowered}; weights of the frames take it out again" if names else _FREE)
            self.walk = Walk(self.prepared, self.solute, seed=self.request.seed, biased=biased, above=above)
        else:
            blocks = slow_blocks(self.turns, quads, slow, samples)
            self.walk = Walk(self.prepared, self.solute, blocks, self.request.seed)
            self.notes += [] if blocks else [_FREE]
        self.plain = Walk(self.prepared, self.solute) if self.request.compare else None
        with self.clock("tuning"):
            place = self._tuned(place)
        with self.clock("sampling"):
            self._sample(place)
        return self._finish(samples)

    def _until(self, share: float) -> Callable[[], bool]:
        """Whether a share of the time that is left is over, or the run is to stop."""
        deadline = Deadline(share * self.budget.deadline.left)
        return lambda: deadline.over or self.stop()

    def _go_on(self) -> None:
        if self.stop():
            raise Stopped(self.request.out)

    def _seed(self, purpose: int) -> int:
        return keyed_seed(self.request.seed, 0, REVIEW, purpose)

    def _implicit(self) -> Floats | None:
        """Torsions (sweeps, recorded) in radians of exact chains without water; None where there are no such chains."""
        folder, request = self.work / "implicit", self.request
        wall = min(_IMPLICIT, 2 * _SHARE * self.budget.deadline.left)
        asked = ChainsRequest(out=folder, resume=True, inputs=without_water(request.inputs), wall=wall)
        asked = replace(
            asked, temperature=request.temperature, seed=request.seed, processes=request.processes, precision=_FINE
        )
        try:
            molecule = self.prepared.molecule
            if not molecule.ligand and (request.force_field or molecule.own_force_field):
                raise ValueError("the force field is not latentmd's own")
            if not (folder / SUMMARY).exists():
                chains(self.prepared.source, asked, report=self.report)
            files = SegmentFiles(folder / CHAINS, TASKS)
            samples = files.read(files.least, "angles")
            if samples.shape[-1] != len(self.recorded):
                raise ValueError("its torsions are others without water")
        except Stopped as error:
            raise Stopped(request.out) from error
        except ValueError as error:
            self.notes.append(
                f"no bias, and jumps go anywhere alike: no exact chains could be run without water: {error}"
            )
            return None
        return samples.reshape(-1, samples.shape[-1])

    def _pilot(self) -> Arrays:
        """Torsions of plain MD at constant pressure, after a minimisation and equilibration, and where it ended."""

        def make() -> Arrays:
            self.report("equilibrating")
            walk, piece = Walk(self.prepared, self.solute), Stint()
            steps = round(_EQUILIBRATION / self.timestep)
            walk.equilibrate(self.prepared.reference, self._seed(1) + 1, steps, self._until(_SHARE))
            over = self._until(_SHARE)
            while (done := _INTERVAL * len(piece.positions)) < _LEAST or (done < _PILOT and not over()):
                self._go_on()
                walk.move(piece, _INTERVAL)
                self.report("pilot of MD", _INTERVAL * len(piece.positions), _PILOT)
            self._go_on()
            return {**walk.place(), "angles": torsions(np.array(piece.positions), self.recorded)}

        return made_once(self.work / "pilot.npz", make)

    def _tuned(self, place: Arrays) -> Arrays:
        """Tune the jumps, and where that ended."""
        move = self.walk.jumps
        if move is None:
            return place

        def make() -> dict[str, object]:
            self.report("tuning the jumps")
            self.walk.begin(place, self._seed(2))
            affordable = self.prepared.rate * self.timestep * _SHARE * self.budget.deadline.left / _TRIPS
            move.length = float(np.clip(affordable, _SHORTEST, move.length))  # a short run is to see jumps at all
            length, rate = move.tune(self.walk.simulation, stopped=self._until(_SHARE))
            self._go_on()
            return {**self.walk.place(), "length": length, "stiffness": move.stiffness, "expected": rate}

        made = made_once(self.work / "tuned.npz", make)
        move.length, move.stiffness, move.steps = float(made["length"]), float(made["stiffness"]), 0
        said = f"{move.length:.3g} ps with a stiffness of {move.stiffness:.0f} kJ/mol/rad²"
        self.notes.append(
            f"jumps steer for {said}, tuned to an acceptance of {made['expected']:.2g} between equal ends"
        )
        return made

    def _kept(self) -> list[Path]:
        return sorted(self.work.glob("segment-*.npz"))

    def _sample(self, place: Arrays) -> None:
        """Segments until the time is over, from the last that was kept."""
        end = self.budget.deadline.earlier(max(_PICTURES[0], _PICTURES[1] * self.budget.seconds))
        kept, plain, move = self._kept(), place, self.walk.jumps
        if kept:
            place = read_arrays(kept[-1])
            plain = {name.removeprefix("plain "): value for name, value in place.items() if name[:6] == "plain "}
            if move is not None:
                move.set_state(str(place["state"]))
        number = len(kept)
        while not ((number and end.over) or self.stop()):
            self.walk.begin(place, self._seed(1000 + 2 * number))
            piece, beside = self._segment(end), Stint()
            place = self.walk.place()
            content: dict[str, object] = {**piece.arrays(), **place, "state": "" if move is None else move.state()}
            if self.plain is not None:
                self.plain.begin(plain, self._seed(1001 + 2 * number))
                while beside.steps < piece.steps:
                    self.plain.move(beside)
                plain = self.plain.place()
                content |= {f"plain {name}": value for name, value in plain.items()}
            write_npz(self.work / f"segment-{number:05d}.npz", content | {"beside": np.array(beside.positions)})
            number += 1
            self.budget.keep()
            told = {} if move is None else {"jumps": float(move.number), "accepted": float(sum(move.accepted.values()))}
            self.report("MD in water", self.budget.spent, self.budget.seconds, told)

    def _segment(self, end: Deadline) -> Stint:
        """MD, and jumps by turns about as long where there are any, for a minute, or what is left for it."""
        piece, move, slowest = Stint(), self.walk.jumps, 0.0
        between = 1 if move is None else max(1, round(move.length / FRAME))
        wanted = min(_LONGEST, max(_SEGMENT, self.budget.spent / 10))
        until = Deadline(min(wanted, end.left / (2 if self.plain else 1)))
        while len(piece.positions) < _FEWEST or not (until.over or self.stop()):
            self.walk.move(piece, whole=self.request.whole)
            if move is not None and len(piece.positions) % between == 0 and until.left > slowest:
                begin = time.monotonic()
                self.walk.jump(piece)
                slowest = max(slowest, time.monotonic() - begin)
        return piece

    def _finish(self, samples: Floats | None) -> RunResult:
        """Write frames, jumps, summary and page."""
        kept, out, molecule = [read_arrays(path) for path in self._kept()], self.request.out, self.prepared.molecule
        if not kept:
            raise Stopped(out)
        self.report("writing the page")
        positions, logarithms = (np.concatenate([part[name] for part in kept]) for name in ("frames", "log_weights"))
        weights = len(positions) * softmax(logarithms)
        alike = equal_frames(weights)
        self._write_frames(kept, positions, weights, alike)
        made = [Jump.read(row) for part in kept for row in json.loads(str(part["jumps"]))]
        if not self.biased:
            report = JumpReport(out / "jumps.csv")
            for jump in made:
                report(jump)
        angles = torsions(positions, self.recorded)
        cuts = wells(self.turns, angles[alike] if samples is None else np.concatenate([angles[alike], samples]))
        found, beside = weighted_populations(angles, cuts, weights), None
        if self.plain is not None:
            plain = torsions(np.concatenate([part["beside"] for part in kept]), self.recorded)
            beside = weighted_populations(plain, cuts, np.ones(len(plain)))
        summary = summary_of(found, beside, made, temperature=molecule.protocol.temperature)
        summary |= {"status": "interrupted"} if self.stop() else {}
        summary |= {"mode": "bias" if self.biased else "jumps", "evenness_of_weights": len(alike) / len(weights)}
        summary |= {"frames": len(positions), "simulated_ps": sum(float(p["steps"]) for p in kept) * self.timestep}
        summary |= {"torsions": {name: why for name, (_, why) in self.found.items()}, "seed": self.request.seed}
        summary |= {"notes": [*molecule.notes, *molecule.added[-1:], *self.notes], "file": "solute.xtc"}
        summary |= {"atoms": molecule.topology.getNumAtoms(), "platform": self.prepared.platform}
        summary["wall_seconds"] = {**self.clock.seconds, "total": round(self.budget.spent, 1)}
        write_text(out / SUMMARY, json.dumps(summary, indent=1) + "\n")
        drawn = angles[alike][:, : len(self.quads)]
        write_jumps_page(
            out / PAGE, self.topology, positions[alike], drawn, summary=summary, found=found, beside=beside
        )
        self.budget.keep()
        self._go_on()
        return RunResult(out, summary)

    def _write_frames(self, kept: Sequence[Arrays], positions: Floats, weights: Doubles, alike: Ints) -> None:
        """Trajectories of the solute, and of the whole system where wanted; `alike` are frames of equal weight."""
        out, molecule, times = self.request.out, self.prepared.molecule, FRAME * np.arange(1, len(positions) + 1)
        write_pdb(out / "topology.pdb", self.topology, positions[0])
        write_xtc(out / "solute.xtc", positions[alike], FRAME * np.arange(1, len(alike) + 1))
        if self.biased:
            write_xtc(out / _BIASED[0], positions, times)
            write_text(out / _BIASED[1], "".join(f"{weight:.6g}\n" for weight in weights))
        if self.request.whole:
            write_pdb(out / "system.pdb", molecule.topology, kept[0]["whole"][0])
            with FrameWriter(out / "system.xtc") as writer:
                for x, box in ((x, box) for part in kept for x, box in zip(part["whole"], part["boxes"], strict=True)):
                    writer.write(x[None], [FRAME * (writer.frames + 1)], box)
