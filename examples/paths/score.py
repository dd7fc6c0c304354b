"""Figures of paths, upsampling and inpainting of alanine dipeptide against held-out MD.

    python examples/paths/score.py paths    --test test.npy --train train.npy --work scores
    python examples/paths/score.py passages --test test.npy --work scores
    python examples/paths/score.py upsample --test test.npy --train train.npy --work scores
    python examples/paths/score.py inpaint  --test test.npy --train train.npy --work scores
    python examples/paths/score.py forward  --test test.npy --train train.npy --work scores
    python examples/paths/score.py cost     --test test.npy --work scores

reference.py makes the trajectories. Nothing is chosen on the test trajectories. Results are printed and kept in
<work>/<name>.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import NDArray

from latentmd import paths
from latentmd.analysis.bridge import markov_bridge
from latentmd.analysis.msm import fit_reversible, transition_counts
from latentmd.analysis.statistics import js_distance
from latentmd.molecule.checks import torsions
from latentmd.systems.bundled import bundled

TOP = bundled("alanine_dipeptide")
LAG, STEPS = 100, 10  # of the reference's Markov model and of paths: frames of 1 ps, and lags
MICRO, MACRO = 100, 10
PATHS, PAIRS = 1000, 10  # scored paths, and pairs of ends that they are shared by


def set_flux(matrix: NDArray[Any], stationary: NDArray[Any], labels: NDArray[Any], sets: int) -> NDArray[Any]:
    """Equilibrium flux between sets of states, F_IJ = Σ_(i in I, j in J) π_i T_ij, shape (sets, sets).

    The row index is the one that the stationary weight belongs to: π_i T_ij, not π_j T_ij.

    Args:
        matrix: transition matrix, shape (states, states).
        stationary: π, shape (states,).
        labels: set of each state, shape (states,).
        sets: number of sets.
    """
    member = np.eye(sets)[labels]
    return np.asarray(member.T @ (np.asarray(stationary)[:, None] * np.asarray(matrix)) @ member)


def rarest_pair(flux: NDArray[Any]) -> tuple[int, int]:
    """The pair of different sets with the smallest flux above zero.

    Raises:
        ValueError: no two sets exchange anything.
    """
    values = np.where(np.eye(len(flux), dtype=bool) | (flux <= 0), np.inf, flux)
    if not np.isfinite(values).any():
        raise ValueError("no two states exchange flux; use a shorter lag, fewer states or more data")
    first, second = np.unravel_index(int(np.argmin(values)), values.shape)
    return int(first), int(second)


def metastable_sets(matrix: NDArray[Any], count: int) -> NDArray[Any]:
    """Metastable set of each state by PCCA+ (deeptime; Röblitz & Weber 2013), shape (states,).

    Args:
        matrix: reversible transition matrix, shape (states, states).
        count: number of sets.
    """
    from deeptime.markov import pcca

    return np.asarray(pcca(np.asarray(matrix, dtype=np.float64), count).assignments, dtype=np.int64)


def visited_shares(paths: NDArray[Any], states: int) -> NDArray[Any]:
    """Share of path frames in each state, shape (states,)."""
    valid = paths[paths >= 0]
    return np.asarray(np.bincount(valid.ravel(), minlength=states) / max(1, valid.size))


def angles(positions: NDArray[Any]) -> NDArray[Any]:
    """(φ, ψ) in radians, shape (..., 2)."""
    from mdtraj.geometry import dihedral

    topology = mdtraj.load_topology(str(TOP))
    quads = np.concatenate([dihedral.indices_phi(topology), dihedral.indices_psi(topology)])
    flat = np.ascontiguousarray(positions).reshape(-1, *positions.shape[-2:])
    found = [torsions(flat[i : i + 50_000], quads) for i in range(0, len(flat), 50_000)]
    return np.concatenate(found).reshape(*positions.shape[:-2], 2)


def circles(phi_psi: NDArray[Any]) -> NDArray[Any]:
    """Cosines and sines."""
    return np.concatenate([np.cos(phi_psi), np.sin(phi_psi)], axis=-1)


class Reference:
    """TICA, k-means, PCCA+ and Markov model of the test trajectories, as the MDGen protocol has them."""

    def __init__(self, test: NDArray[Any], lag: int = LAG, thin: int = 20) -> None:
        """Fit runs of torsions (runs, frames, torsions) at a lag in frames; k-means sees every thin-th frame."""
        from deeptime.clustering import KMeans
        from deeptime.decomposition import TICA

        runs = [run.astype(np.float64) for run in circles(test)]
        self.tica = TICA(lagtime=lag, var_cutoff=0.95).fit(runs).fetch_model()
        projected = np.concatenate([self.tica.transform(run) for run in runs])
        self.clusters = KMeans(MICRO, fixed_seed=0, max_iter=100).fit(projected[::thin]).fetch_model()
        micro = [self.clusters.transform(self.tica.transform(run)) for run in runs]
        model = fit_reversible(transition_counts(micro, lag, MICRO).sum(axis=0))
        self.label = np.full(MICRO, -1)
        self.label[model.active] = metastable_sets(model.matrix, MACRO)
        self.sets = int(self.label.max()) + 1
        coarse = fit_reversible(transition_counts([self.label[m] for m in micro], lag, self.sets).sum(axis=0))
        self.active, self.matrix = coarse.active, coarse.matrix
        flux = set_flux(coarse.matrix, coarse.stationary, np.arange(len(coarse.active)), len(coarse.active))
        first, last = rarest_pair(flux)
        self.ends = (int(coarse.active[first]), int(coarse.active[last]))

    def states(self, phi_psi: NDArray[Any]) -> NDArray[Any]:
        """Macrostate of each frame, shape (...)."""
        flat = circles(phi_psi.reshape(-1, phi_psi.shape[-1])).astype(np.float64)
        return self.label[self.clusters.transform(self.tica.transform(flat))].reshape(phi_psi.shape[:-1])

    def bridges(self, matrix: NDArray[Any], active: NDArray[Any], count: int, seed: int) -> NDArray[Any] | None:
        """Bridges of a chain over some of the macrostates between the ends; None where it does not reach them."""
        place = {int(state): k for k, state in enumerate(active)}
        if self.ends[0] not in place or self.ends[1] not in place:
            return None
        bridge = markov_bridge(matrix, place[self.ends[1]], STEPS)
        drawn = bridge.sample(place[self.ends[0]], count, np.random.default_rng(seed))
        return active[drawn]

    def score(self, drawn: NDArray[Any] | None) -> dict[str, float]:
        """Share of valid paths, mean probability, and distance of the visited states to bridges of the reference."""
        if drawn is None:
            return {"valid": 0.0, "probability": 0.0, "distance": 1.0}
        place = np.full(self.sets + 1, -1)
        place[self.active] = np.arange(len(self.active))
        bridge = markov_bridge(self.matrix, int(place[self.ends[1]]), STEPS)
        value = np.exp(bridge.log_probabilities(place[drawn]))
        own = self.bridges(self.matrix, self.active, 1000, 1)
        assert own is not None
        distance = js_distance(visited_shares(drawn, self.sets), visited_shares(own, self.sets))
        return {"valid": float((value > 0).mean()), "probability": float(value.mean()), "distance": distance}


def score_paths(test: NDArray[Any], train: NDArray[Any], work: Path) -> dict[str, Any]:
    """The model's paths beside bridges of replicate MD and of the reference itself."""
    reference = Reference(angles(test))
    result: dict[str, Any] = {"ends": reference.ends, "states": reference.sets}
    states = reference.states(angles(test[:, ::10]))
    rng = np.random.default_rng(0)
    drawn = []
    for pair in range(PAIRS):
        files = []
        for name, end in zip("AB", reference.ends, strict=True):
            run, frame = rng.permutation(np.argwhere(states == end))[0]
            files.append(work / f"{name}{pair}.pdb")
            save(test[run, 10 * frame], files[-1])
        out = work / f"pair-{pair}"
        made = paths(*files, model="alanine-dipeptide", time="1ns", every="10ps", count=PATHS // PAIRS, seed=pair,
                     out=out, resume=True)  # fmt: skip
        drawn.append(reference.states(angles(np.stack([load(path)[::10] for path in made.trajectories]))))
    result["latentmd"] = reference.score(np.concatenate(drawn))
    result["reference itself"] = reference.score(reference.bridges(reference.matrix, reference.active, PATHS, 2))
    replicate = reference.states(angles(train))
    per_run = replicate.shape[1] // 1000  # ns
    for length in (20, 100):
        groups, found = replicates(reference, replicate, max(1, length // per_run), LAG)
        result[f"replicate MD {length} ns, mean of {groups}"] = found
    return result


def replicates(reference: Reference, states: NDArray[Any], runs: int, lag: int) -> tuple[int, dict[str, float]]:
    """Bridges of Markov models of other MD, some runs of it each: number of models, and mean scores.

    Args:
        reference: what scores.
        states: macrostates of the other MD, shape (runs, frames).
        runs: of each model.
        lag: in frames.
    """
    groups = [states[i : i + runs] for i in range(0, len(states) - runs + 1, runs)]
    scores = []
    for number, group in enumerate(groups):
        model = fit_reversible(transition_counts(list(group), lag, reference.sets).sum(axis=0))
        scores.append(reference.score(reference.bridges(model.matrix, model.active, PATHS, number)))
    return len(groups), {key: float(np.mean([score[key] for score in scores])) for key in scores[0]}


def save(positions: NDArray[Any], path: Path) -> None:
    """Write one frame as a PDB file."""
    mdtraj.Trajectory(positions[None], mdtraj.load_topology(str(TOP))).save_pdb(str(path))


def load(path: Path) -> NDArray[Any]:
    """Positions of a trajectory file."""
    return np.asarray(mdtraj.load(str(path), top=str(TOP)).xyz)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["paths", "passages", "upsample", "inpaint", "forward", "cost"])
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--work", type=Path, default=Path("scores"))
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    test = np.load(asked.test, mmap_mode="r")
    train = None if asked.train is None else np.load(asked.train, mmap_mode="r")
    if asked.what == "paths":
        found = score_paths(test, train, asked.work)
    else:
        import score_filling

        found = getattr(score_filling, f"score_{asked.what}")(test, train, asked.work)
    text = json.dumps(found, indent=1)
    (asked.work / f"{asked.what}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
