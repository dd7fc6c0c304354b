"""The top rung of the exactness ladder: Metropolis chains of a small molecule, whose frames all weigh the same."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.analysis.statistics import effective_samples
from latentmd.arrays import Floats, Ints
from latentmd.io.outputs import FrameWriter, write_atomically
from latentmd.sampling.exactness import Exactness
from latentmd.sampling.hybrid.folder import CHAINS, SUMMARY, HybridFolder, write_npz
from latentmd.sampling.hybrid.gate import ACCEPTED
from latentmd.sampling.hybrid.ladder import first_bursts, gate_of, screened
from latentmd.sampling.hybrid.tasks import PLAN, REVIEW, keyed_rng, keyed_seed
from latentmd.sampling.metropolis.chain import JUMPS, Segment, run_segment
from latentmd.sampling.metropolis.moves import TorsionMove, turning

if TYPE_CHECKING:
    from latentmd.sampling.contracts import Explorer, Scheduler
    from latentmd.sampling.engine import MoleculeEngine
    from latentmd.sampling.hybrid.run import HybridRun
    from latentmd.sampling.hybrid.settings import Settings
    from latentmd.sampling.hybrid.starts import Clock


LEVEL = "metropolised"
MOST_ATOMS = 40  # beyond, hardly a move of all torsions at once is accepted
CHAINS_RUN, SWEEPS = 4, 500  # side by side, and in a segment of each
_WIDTH = np.deg2rad(10.0)  # of the kernels
_CENTRES = 512  # structures of each kind that kernels are put on
_SETS = 8  # of torsions, whose populations are to be known
_MIXED = 1.05  # largest ratio of the spread of all chains to that within one
_FEWEST_JUMPS = 100  # accepted moves of the torsions


class UnsuitableError(ValueError):
    """A molecule that Metropolis moves cannot sample; the message says what to do."""


@dataclass(frozen=True)
class Sampled:
    """Segments of all chains after the first of each, which is thrown away.

    Attributes:
        energies: kJ/mol, shape (chains, sweeps).
        angles: torsions about bonds, those of rings included, radians, shape (chains, sweeps, torsions).
        accepted: how many of the Hamiltonian moves and of those of the torsions.
    """

    energies: Floats
    angles: Floats
    accepted: tuple[int, int]

    @property
    def shares(self) -> dict[str, float]:
        """Shares of the moves that were accepted."""
        glides, jumps = self.accepted
        return {"hamiltonian": glides / self.energies.size, "torsions": jumps / (JUMPS * self.energies.size)}


@dataclass(frozen=True)
class Populations:
    """Populations of sets of torsions (k-means on their cosines and sines), largest first.

    Attributes:
        sets: of each frame, shape (chains, sweeps).
        values, errors: populations and standard errors by effective samples, shape (sets,).
        effective: least number of effective samples of any set.
        mixed: largest ratio of the spread of all halves of chains to that within one (Gelman and Rubin 1992).
    """

    sets: Ints
    values: Floats
    errors: Floats
    effective: float
    mixed: float


def write_metropolis(
    run: HybridRun, core: Settings, explorer: Explorer, starts: Floats, wall: float, clock: Clock, tasks: Scheduler
) -> dict[str, Any]:
    """Sample until the populations are as precise as wanted; write `metropolised.xtc` and `.npz`, page and summary.

    Args:
        run: the request and the engine.
        core: settings of the rounds, for the bursts of round 0.
        explorer: the surrogate, or none.
        starts: structures (m, atoms, 3); the chains begin from the first of them, which are far apart.
        wall: seconds for everything, over all sessions.
        clock: keeps the time that everything took.
        tasks: runs the chains side by side.

    Raises:
        Stopped: the run was asked to stop.
    """
    folder = HybridFolder(run.folder)
    with clock.part("kernels"):
        move = _move(run, core, explorer, starts, folder, tasks)
    number = 0
    while True:
        with clock.part(LEVEL):
            _segments(run, move, starts, number, folder, tasks)
        number += 1
        if _there(folder, number):  # an earlier session went on
            continue
        over = sum(clock.parts.values()) >= wall
        if number < 2 or not (over or due(number)):
            continue
        with clock.part(LEVEL):
            sampled = _sampled(folder, number)
            found = populations(sampled.angles, keyed_rng(run.seed, number, REVIEW))
        missing = lacking(found, sampled.accepted[1], run.settings.precision)
        run.report(f"Metropolis chains: {_progress(found, number)}", 0.0, 1.0)
        if not missing or over:
            return _write(run, sampled, found, missing, clock, number)


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
    if not len(_turning(engine)[0]):
        raise UnsuitableError(f"--exactness {LEVEL} turns bonds, and this molecule has none that can turn: {advice}")


def due(number: int) -> bool:
    """Whether the chains are looked at after this many segments: after 2, and each time there are half as many more."""
    look = 2
    while look < number:
        look = -(-3 * look // 2)
    return look == number


def _turning(engine: MoleculeEngine) -> tuple[Ints, tuple[Ints, ...]]:
    from latentmd.molecule.checks import topology_arrays

    symbols, bonds = topology_arrays(engine.molecule.topology)
    return turning(engine.quads, bonds, len(symbols))


def _move(
    run: HybridRun, core: Settings, explorer: Explorer, starts: Floats, folder: HybridFolder, tasks: Scheduler
) -> TorsionMove:
    """Kernels on the bursts of round 0 and on structures of the surrogate that pass the gate; fixed from then on."""
    from latentmd.molecule.checks import torsions

    quads, sides = _turning(run.engine)

    def make() -> dict[str, Any]:
        run.report("choosing kernels", 0.0, 1.0)
        bursts = first_bursts(run, core, starts, tasks)
        frames = np.concatenate([burst.positions[len(burst.positions) // 2 :: 24] for burst in bursts])
        rng = keyed_rng(run.seed, 0, PLAN, 3)
        found = [torsions(rng.permutation(frames)[:_CENTRES].astype(np.float64), quads)]
        drawn = np.asarray(explorer.propose(starts, _CENTRES, rng))
        if len(drawn):
            verdicts = screened(run, explorer, drawn, gate_of(run, explorer, bursts))
            found.append(torsions(drawn[[v == ACCEPTED for v in verdicts]].astype(np.float64), quads))
        return {"centres": np.concatenate(found), "surrogate": np.array(len(found[-1]) if len(found) > 1 else 0)}

    return TorsionMove(quads, sides, folder.once(f"{CHAINS}/centres.npz", make)["centres"], _WIDTH)


def _segments(
    run: HybridRun, move: TorsionMove, starts: Floats, number: int, folder: HybridFolder, tasks: Scheduler
) -> None:
    """Sample what is missing of the segments of a number."""
    from latentmd.molecule.checks import torsions
    from latentmd.sampling.hybrid.run import Stopped
    from latentmd.sampling.hybrid.store import read_arrays

    missing = [c for c in range(CHAINS_RUN) if not _path(folder, number, c).exists()]
    work = []
    for chain in missing:
        start = starts[chain % len(starts)]
        if number:
            start = read_arrays(_path(folder, number - 1, chain))["end"]
        seed = keyed_seed(run.seed, number, REVIEW, 1 + chain)
        work.append(Segment(run.engine.molecule, move, start, SWEEPS, seed))
    for chain, piece in zip(missing, tasks.map(run_segment, work), strict=True):
        arrays = {
            "positions": piece.positions.astype(np.float32),
            "energies": piece.energies,
            "angles": torsions(piece.positions, run.engine.quads),
            "end": piece.positions[-1],
            "accepted": np.array(piece.accepted),
        }
        write_npz(_path(folder, number, chain), arrays)
        if run.stop():
            raise Stopped(run.folder)


def _path(folder: HybridFolder, number: int, chain: int) -> Any:
    return folder.path / CHAINS / f"segment-{number:04d}-{chain}.npz"


def _there(folder: HybridFolder, number: int) -> bool:
    return all(_path(folder, number, chain).exists() for chain in range(CHAINS_RUN))


def _read(folder: HybridFolder, number: int, name: str) -> NDArray[Any]:
    """An array of all chains, shape (chains, ...), without the first of `number` segments of each."""

    def array(chain: int, segment: int) -> NDArray[Any]:
        with np.load(_path(folder, segment, chain), allow_pickle=False) as file:
            return np.asarray(file[name])

    return np.array([np.concatenate([array(chain, n) for n in range(1, number)]) for chain in range(CHAINS_RUN)])


def _sampled(folder: HybridFolder, number: int) -> Sampled:
    energies, angles, accepted = (_read(folder, number, name) for name in ("energies", "angles", "accepted"))
    return Sampled(energies, angles, (int(accepted[:, 0::2].sum()), int(accepted[:, 1::2].sum())))


def populations(angles: Floats, rng: np.random.Generator) -> Populations:
    """Sets of torsions (chains, sweeps, torsions), their populations and how well they are known."""
    from deeptime.clustering import KMeans

    points = np.concatenate([np.cos(angles), np.sin(angles)], axis=2)
    flat = points.reshape(-1, points.shape[2])
    number = min(_SETS, len(np.unique(flat, axis=0)))
    clustering = KMeans(number, max_iter=50, tolerance=1e-2, fixed_seed=int(rng.integers(2**31)), n_jobs=1)
    _, labels, counts = np.unique(clustering.fit(flat).transform(flat), return_inverse=True, return_counts=True)
    sets = np.argsort(np.argsort(-counts))[labels.ravel()].reshape(angles.shape[:2])
    values, errors, least, mixed = [], [], np.inf, 1.0
    for index in range(len(counts)):
        inside = (sets == index).astype(np.float64)
        effective = effective_samples(list(inside))
        share = inside.mean()
        values.append(share)
        errors.append(np.sqrt(share * (1 - share) / max(effective, 1.0)))
        least, mixed = min(least, effective), max(mixed, _ratio(inside))
    return Populations(sets, np.array(values), np.array(errors), float(least), mixed)


def _ratio(series: Floats) -> float:
    """Root of the variance of all halves of chains over the mean variance within one, shape (chains, sweeps)."""
    half = series.shape[1] // 2
    halves = np.concatenate([series[:, :half], series[:, half : 2 * half]])
    within, between = halves.var(axis=1, ddof=1).mean(), halves.mean(axis=1).var(ddof=1)
    return float(np.sqrt((half - 1) / half + between / within)) if within > 0 else float("inf")


def lacking(found: Populations, jumps: int, precision: float) -> list[str]:
    """What keeps the populations from being known to `precision` (kT), in words."""
    missing = []
    if jumps < _FEWEST_JUMPS:
        missing.append(f"{jumps} moves of the torsions were accepted; {_FEWEST_JUMPS} are needed")
    if found.mixed > _MIXED:
        missing.append(
            f"the chains do not agree yet: their spread is {found.mixed:.2f} times that within one; {_MIXED} is wanted"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = found.errors / (found.values * (1 - found.values))  # of ln(p / (1 - p))
    for index, error in enumerate(errors):
        if not error <= precision:
            missing.append(
                f"free energy of set {index + 1} has a standard error of {error:.2f} kT; {precision:g} kT is wanted"
            )
    return missing


def _progress(found: Populations, number: int) -> str:
    return f"{CHAINS_RUN * number * SWEEPS} sweeps, {found.effective:.0f} effective samples at least of every set"


def _write(
    run: HybridRun, sampled: Sampled, found: Populations, missing: list[str], clock: Clock, number: int
) -> dict[str, Any]:
    from latentmd.sampling.hybrid.page import write_metropolis_page

    chains, sweeps = sampled.energies.shape
    positions = _read(HybridFolder(run.folder), number, "positions")
    unfinished = run.folder / f".{LEVEL}.new.xtc"
    with FrameWriter(unfinished) as writer:
        writer.write(positions.reshape(chains * sweeps, -1, 3), np.arange(chains * sweeps))
    os.replace(unfinished, run.folder / f"{LEVEL}.xtc")
    arrays = {
        "chain": np.repeat(np.arange(chains), sweeps),
        "energy": sampled.energies.ravel(),
        "torsions": sampled.angles.reshape(chains * sweeps, -1),
        "set": found.sets.ravel(),
        "weight": np.full(chains * sweeps, 1.0 / (chains * sweeps)),
    }
    write_npz(run.folder / f"{LEVEL}.npz", arrays)
    rung = Exactness.named(LEVEL).value
    summary = {
        "status": "converged" if not missing else "budget",
        "exactness": LEVEL,
        "guarantees": rung.guarantees,
        "remains": rung.remains,
        "missing": missing,
        "frames": chains * sweeps,
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
        "wall_seconds": {**clock.parts, "total": round(sum(clock.parts.values()), 1)},
        "file": f"{LEVEL}.xtc",
    }
    write_atomically(run.folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
    write_metropolis_page(run, sampled, found, positions, summary)
    return summary
