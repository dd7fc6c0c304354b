"""Figures of transitions, upsampling, inpainting and cost; score.py calls these."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import torch
from numpy.typing import NDArray
from score import TOP, angles, circles, load, save

from latentmd import inpaint, paths, upsample
from latentmd.analysis.kinetics import core_path, torsion_autocorrelation
from latentmd.analysis.msm import fit_reversible, transition_counts
from latentmd.analysis.statistics import TORSION_GRID, binomial_interval, js_distance

EVERY = 10  # ps, of paths and of thinned test frames
WINDOW = 10  # frames of 10 ps at either side of a transition that are filled in
FINE = 400  # paths whose transitions are looked at every ps
MICRO = 100
TORSIONS = ("phi", "psi", "omega 1", "omega 2")


def cores(phi_psi: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Whether frames are deep in φ < 0, and deep in φ > 0."""
    phi = np.degrees(phi_psi[..., 0])
    return (phi > -170) & (phi < -40), (phi > 30) & (phi < 100)


def crossings(phi_psi: NDArray[Any]) -> list[tuple[int, int]]:
    """Frames last in the core of φ < 0 and first in that of φ > 0, of every transition of one run."""
    path = core_path(*cores(phi_psi))
    first, _ = cores(phi_psi)
    found = []
    for arrives in np.flatnonzero((path[1:] == 1) & (path[:-1] == 0)) + 1:
        found.append((int(np.flatnonzero(first[:arrives])[-1]), int(arrives)))
    return found


def both_ways(runs: NDArray[Any]) -> list[NDArray[Any]]:
    """Runs and the same backwards in time, since equilibrium MD looks the same both ways."""
    return [*runs, *(run[::-1] for run in runs)]


def way(before: NDArray[Any], after: NDArray[Any]) -> str:
    """Channel of a jump: from beta or alpha, and through φ = 0 or φ = 180, whichever is the shorter arc."""
    phi = np.degrees([before[0], after[0]])
    psi = np.degrees(before[1])
    basin = "alpha" if -120 < psi < 60 else "beta"
    return f"{basin} through {'0' if phi[1] - phi[0] < 180 else '180'}"


def shares(names: list[str]) -> dict[str, Any]:
    """Share of each channel with its 95 % interval."""
    count = len(names)
    return {
        name: [names.count(name) / count, *binomial_interval(names.count(name) / count, count), names.count(name)]
        for name in sorted(set(names))
    }


def score_passages(test: NDArray[Any], _: Any, work: Path) -> dict[str, Any]:
    """Channels, durations and the committor at the middle of transitions to φ > 0, against the test trajectories."""
    fine = angles(test)
    md = both_ways(fine)
    thinned = both_ways(fine[:, ::EVERY])
    made = paths(model="alanine-dipeptide", origin=1, target=3, time="1ns", every="10ps", count=1000,
                 out=work / "states", resume=True)  # fmt: skip
    frames = [load(path) for path in made.trajectories]
    drawn = [angles(x) for x in frames]
    result: dict[str, Any] = {"channels, frames 10 ps apart": {}}
    for name, runs in (("MD", thinned), ("latentmd", drawn)):
        found = [way(run[a], run[b]) for run in runs for a, b in crossings(run)[: 1 if name != "MD" else None]]
        result["channels, frames 10 ps apart"][name] = shares(found)
    filled = fill_transitions(frames, drawn)
    q = committor_of(fine)
    for name, runs in (("MD", md), ("latentmd, filled in", filled)):
        result[f"transitions, frames 1 ps apart: {name}"] = passages(runs, q)
    return result


def fill_transitions(frames: list[NDArray[Any]], drawn: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """(φ, ψ) every ps around the transition of some paths, filled in by the path model."""
    from latentmd.model.propagator import Propagator
    from latentmd.sampling.paths.upsample import fill_windows

    propagator = Propagator("alanine-dipeptide", "cpu", threads=1)
    generator, rng, result = torch.Generator().manual_seed(0), np.random.default_rng(0), []
    for x, run in zip(frames[:FINE], drawn[:FINE], strict=True):
        found = crossings(run)
        if not found:
            continue
        part = x[max(0, found[0][0] - WINDOW) : found[0][1] + WINDOW + 1]
        slow = fill_windows(propagator.trajectories, propagator.encode(part), EVERY, 1.0, generator)
        positions = propagator.decode(slow, rng)
        positions[::EVERY] = part
        result.append(angles(positions))
    return result


def committor_of(fine: NDArray[Any]) -> Any:
    """Committor from φ < 0 to φ > 0 of the test trajectories' Markov model at 1 ps, as a function of (φ, ψ)."""
    from deeptime.clustering import KMeans
    from deeptime.markov.tools.analysis import committor

    points = circles(fine).astype(np.float64)
    # Centres are spread evenly over where frames are, so that barriers have some.
    flat = points.reshape(-1, 4)[::5]
    cells = np.unique(np.round(fine.reshape(-1, 2)[::5] / 0.15).astype(int), axis=0, return_index=True)[1]
    clusters = KMeans(MICRO, fixed_seed=0, max_iter=100).fit(flat[cells]).fetch_model()
    micro = [clusters.transform(run) for run in points]
    model = fit_reversible(transition_counts(micro, 1, MICRO).sum(axis=0))
    centres = clusters.cluster_centers[model.active]
    torsion = np.stack([np.arctan2(centres[:, 2], centres[:, 0]), np.arctan2(centres[:, 3], centres[:, 1])], axis=1)
    first, last = cores(torsion)
    value = np.full(MICRO, np.nan)
    value[model.active] = committor(model.matrix, np.flatnonzero(first).tolist(), np.flatnonzero(last).tolist())
    return lambda phi_psi: value[clusters.transform(circles(phi_psi).astype(np.float64))]


def passages(runs: list[NDArray[Any]], q: Any) -> dict[str, Any]:
    """Mean duration in ps, and mean committor at the middle frame of transitions of two ps or more."""
    rng = np.random.default_rng(0)
    found = [(run, a, b) for run in runs for a, b in crossings(run)]
    durations = np.array([b - a for _, a, b in found], dtype=float)
    middle = np.array([float(q(run[(a + b) // 2][None])[0]) for run, a, b in found if b - a >= 2])
    middle = middle[np.isfinite(middle)]

    def interval(values: NDArray[Any]) -> list[float]:
        draws = rng.choice(values, (2000, len(values))).mean(axis=1)
        return [float(values.mean()), *(float(x) for x in np.quantile(draws, [0.025, 0.975])), len(values)]

    return {"duration": interval(durations), "committor at the middle": interval(middle)}


def four(positions: NDArray[Any]) -> NDArray[Any]:
    """φ, ψ and both ω in radians, shape (frames, 4)."""
    from mdtraj.geometry import dihedral

    from latentmd.molecule.checks import torsions

    topology = mdtraj.load_topology(str(TOP))
    names = {(a.residue.name, a.name): a.index for a in topology.atoms}
    omega = [[("ACE", "CH3"), ("ACE", "C"), ("ALA", "N"), ("ALA", "CA")],
             [("ALA", "CA"), ("ALA", "C"), ("NME", "N"), ("NME", "C")]]  # fmt: skip
    quads = [*dihedral.indices_phi(topology), *dihedral.indices_psi(topology)]
    quads += [[names[key] for key in quad] for quad in omega]
    return np.asarray(torsions(np.ascontiguousarray(positions), np.array(quads)))


def write(positions: NDArray[Any], path: Path, interval: float) -> Path:
    """Write a trajectory file."""
    topology = mdtraj.load_topology(str(TOP))
    mdtraj.Trajectory(positions, topology, time=interval * np.arange(len(positions))).save_xtc(str(path))
    return path


def score_upsample(test: NDArray[Any], train: NDArray[Any], work: Path) -> dict[str, Any]:
    """Autocorrelations and distributions of frames filled in between every tenth of two test runs of 20 ns."""
    length, runs = 20_001, (0, 7)
    truth = [four(test[run, :length]) for run in runs]
    other = [four(train[run, :length]) for run in range(2)]
    filled, held = [], []
    for run, real in zip(runs, truth, strict=True):
        coarse = write(test[run, :length:EVERY], work / f"coarse-{run}.xtc", float(EVERY))
        made = upsample(coarse, TOP, every="1ps", out=work / f"upsample-{run}", resume=True)
        filled.append(four(load(made.trajectory)))
        held.append(np.repeat(real[::EVERY], EVERY, axis=0)[: len(real)])
    new = np.ones(length, dtype=bool)
    new[::EVERY] = False
    return {
        name: {
            "latentmd": upsampled(truth, filled, new, column),
            "given frame held": upsampled(truth, held, new, column),
            "floor: other MD": upsampled(truth, other, new[: len(other[0])], column),
        }
        for column, name in enumerate(TORSIONS)
    }


def upsampled(truth: list[NDArray[Any]], made: list[NDArray[Any]], new: NDArray[Any], column: int) -> dict[str, Any]:
    """JS distance at the new frames; root-mean-square and largest difference of autocorrelations from 1 to 100 ps."""
    counts = [
        TORSION_GRID.counts(np.concatenate([run[: len(new)][new[: len(run)], column] for run in runs]))
        for runs in (truth, made)
    ]
    curves = [torsion_autocorrelation([run[:, column] for run in runs], 100)[1:] for runs in (truth, made)]
    difference = curves[1] - curves[0]
    return {
        "distance": js_distance(*counts), "autocorrelation rms": float(np.sqrt((difference**2).mean())),
        "autocorrelation max": float(np.abs(difference).max()),
        "at 1, 2, 5, 10 ps": [[round(float(c[k - 1]), 3) for k in (1, 2, 5, 10)] for c in curves],
    }  # fmt: skip


def score_inpaint(test: NDArray[Any], train: NDArray[Any], work: Path) -> dict[str, Any]:
    """Distances of φ and ψ of the alanine drawn given its caps, by pieces of 2 ns, over test runs with both basins."""
    from latentmd.model.propagator import Propagator

    length, pieces = 2_000, 12
    fine = angles(test[:, ::EVERY])
    starts = [
        (run, at) for run in range(len(test)) for at in range(0, fine.shape[1] - length // EVERY, length // EVERY)
    ]
    chosen = [starts[k] for k in np.random.default_rng(0).choice(len(starts), pieces, replace=False)]
    given = np.concatenate([test[run, at * EVERY : at * EVERY + length : EVERY] for run, at in chosen])
    made = inpaint(write(given, work / "pieces.xtc", float(EVERY)), TOP, [2], out=work / "inpaint", resume=True)
    truth, drawn = (angles(x).reshape(pieces, -1, 2) for x in (given, load(made.trajectory)))
    rng = np.random.default_rng(1)
    table = angles(train[:, ::100]).reshape(-1, 2)
    model = Propagator("alanine-dipeptide", "cpu", threads=1)
    walkers = model.encode(train[:, 0])
    free = angles(model.decode(model.rollout(walkers, 200.0, 200, rng)[20:].flatten(0, 1), rng))
    independent = angles(test[:, 5::97]).reshape(-1, 2)
    result = {}
    for name, sample in (("latentmd given the caps", drawn), ("residue table", table), ("unconditional model", free),
                         ("held-out MD, other frames", independent)):  # fmt: skip
        values = [[distance(truth[k][:, c], sample[k][:, c] if sample.ndim == 3 else sample[:, c])
                   for k in range(pieces)] for c in (0, 1)]  # fmt: skip
        result[name] = {"phi": float(np.mean(values[0])), "psi": float(np.mean(values[1]))}
    result["given the geometry of the caps"] = given_caps(given, truth, drawn, (table, free), train)
    turn = np.abs((drawn - truth + np.pi) % (2 * np.pi) - np.pi)
    result["latentmd, all pieces together"] = {
        name: distance(truth[..., c].ravel(), drawn[..., c].ravel()) for c, name in enumerate(("phi", "psi"))
    }
    result["within 30 degrees"] = {
        name: float((turn[..., c] < np.pi / 6).mean()) for c, name in enumerate(("phi", "psi"))
    }
    result["sound before relaxation, failing after"] = {
        "sound": made.summary["frames_sound_before_relaxation"], "failing": made.summary["frames_failing_checks"],
        "frames": made.summary["frames"],
    }  # fmt: skip
    return result


def caps(positions: NDArray[Any]) -> NDArray[Any]:
    """Distances between the heavy atoms of both caps, nm, shape (frames, 6)."""
    topology = mdtraj.load_topology(str(TOP))
    sides = [[a.index for a in topology.atoms if a.residue.name == name and a.element.symbol != "H"]
             for name in ("ACE", "NME")]  # fmt: skip
    pairs = np.array([(i, j) for i in sides[0] for j in sides[1]])
    return np.asarray(np.linalg.norm(positions[:, pairs[:, 0]] - positions[:, pairs[:, 1]], axis=2))


def given_caps(
    given: NDArray[Any], truth: NDArray[Any], drawn: NDArray[Any], others: tuple[NDArray[Any], NDArray[Any]],
    train: NDArray[Any],
) -> dict[str, Any]:  # fmt: skip
    """JS distance of the joint distribution of a torsion and of which of 30 geometries the caps have.

    The residue table and the unconditional model give every geometry one distribution; the floor takes, for each frame,
    one of the training trajectories' frames of its geometry.
    """
    from deeptime.clustering import KMeans

    known = np.asarray(train[:, ::20], dtype=np.float32).reshape(-1, *train.shape[2:])
    clusters = KMeans(30, fixed_seed=0, max_iter=50).fit(caps(known)[::5].astype(np.float64)).fetch_model()
    group, of_known = (clusters.transform(caps(x).astype(np.float64)) for x in (given, known))
    rng = np.random.default_rng(3)
    floor = angles(known[[rng.choice(np.flatnonzero(of_known == g)) for g in group]])
    edges = np.linspace(-np.pi, np.pi, 37)
    result = {}
    for column, name in enumerate(("phi", "psi")):
        own, made, same = (np.histogram2d(group, x[..., column].ravel(), (np.arange(31), edges))[0]
                           for x in (truth, drawn, floor))  # fmt: skip
        flat = [np.outer(own.sum(axis=1), np.histogram(x[:, column], edges)[0] / len(x)) for x in others]
        samples = {"latentmd": made, "residue table": flat[0], "unconditional model": flat[1],
                   "floor: training MD of the same geometry": same}  # fmt: skip
        result[name] = {key: js_distance(own.ravel(), value.ravel()) for key, value in samples.items()}
    return result


def distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """JS distance of one torsion in bins of 10 degrees."""
    edges = np.linspace(-np.pi, np.pi, 37)
    return js_distance(np.histogram(a, edges)[0], np.histogram(b, edges)[0])


def score_forward(test: NDArray[Any], train: NDArray[Any], _: Path) -> dict[str, Any]:
    """The masked model as a forward simulator beside the one-step model: 100 walkers of 12.6 ns, a frame every 20 ps.

    Each window of 64 frames continues from the last frame of the one before.
    """
    from latentmd.model.propagator import Propagator

    walkers, windows, lag = 100, 10, 20.0
    model = Propagator("alanine-dipeptide", "cpu", threads=1)
    masked, rng, generator = model.trajectories, np.random.default_rng(0), torch.Generator().manual_seed(0)
    frames = masked.window - 1
    starts = train[:, np.linspace(0, train.shape[1] - 1, 7).astype(int)].reshape(-1, *train.shape[2:])
    slow = model.encode(starts[rng.choice(len(starts), walkers, replace=False)])
    times = (lag * torch.arange(masked.window)).expand(walkers, -1)
    runs, last = [], slow
    for _ in range(windows):
        known = torch.zeros(walkers, masked.window, *slow.shape[1:])
        known[:, 0] = last
        mask = torch.zeros(known.shape[:3], dtype=torch.bool)
        mask[:, 0] = True
        drawn = masked.sample(known, mask, times, torch.randn(known.shape, generator=generator))
        runs.append(drawn[:, 1:])
        last = drawn[:, -1]
    one_step = model.rollout(slow, lag, windows * frames, rng).transpose(0, 1)
    every = round(lag)
    sets = {
        "masked model": angles(_decoded(model, torch.cat(runs, dim=1), rng)),
        "one-step model": angles(_decoded(model, one_step, rng)),
        "floor: training MD": angles(train[:, ::every]),
    }
    truth = angles(test[:, ::every])
    return {name: _forward(truth, made) for name, made in sets.items()}


def _decoded(model: Any, slow: torch.Tensor, rng: np.random.Generator) -> NDArray[Any]:
    walkers, frames = slow.shape[:2]
    flat = slow.flatten(0, 1)
    parts = [model.decode(flat[i : i + 5000], rng).astype(np.float32) for i in range(0, len(flat), 5000)]
    return np.concatenate(parts).reshape(walkers, frames, -1, 3)


def _forward(truth: NDArray[Any], made: NDArray[Any]) -> dict[str, float]:
    """JS distances of phi and psi, share of phi > 0, and rms difference of their autocorrelations up to 400 ps."""
    result = {"share of phi > 0": float((made[..., 0] > 0).mean())}
    for column, name in enumerate(("phi", "psi")):
        curves = [torsion_autocorrelation([run[:, column] for run in runs], 20)[1:] for runs in (truth, made)]
        result[f"{name} distance"] = distance(truth[..., column].ravel(), made[..., column].ravel())
        result[f"{name} autocorrelation rms"] = float(np.sqrt(((curves[0] - curves[1]) ** 2).mean()))
    return result


def score_cost(test: NDArray[Any], _: Any, work: Path) -> dict[str, Any]:
    """Wall seconds of 1,000 paths of 1 ns, a frame every 10 ps, pictures included, on the cores there are."""
    deep = cores(angles(test[:, ::1000]))
    files = []
    for name, inside in zip("AB", deep, strict=True):
        run, frame = np.argwhere(inside)[0]
        files.append(work / f"cost-{name}.pdb")
        save(test[run, 1000 * frame], files[-1])
    begin = time.perf_counter()
    made = paths(*files, count=1000, out=work / "cost", overwrite=True)
    kept = ("frames", "frames_sound_before_relaxation", "frames_relaxed", "frames_failing_checks", "wall_seconds")
    return {"seconds": time.perf_counter() - begin, **{name: made.summary[name] for name in kept}}
