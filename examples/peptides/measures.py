"""Unseen peptides: how near sets of torsions come to reference MD, in distributions, states and kinetics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentmd.analysis import kinetics, msm, thermodynamics
from latentmd.analysis.features import FeatureSpec
from latentmd.analysis.reference import ReferenceModel
from latentmd.analysis.statistics import joint_grid, js_distance, sample_js_distance
from latentmd.arrays import Floats
from latentmd.evaluation.residue_table import BINS, ResidueTable, histogram, plane, scored_planes, scored_torsions
from latentmd.molecule.chain import SLOTS, Chain

_LAG = 100.0  # ps, of TICA and the Markov state model, as in published evaluations of tetrapeptides
_BACKBONE = (SLOTS.index("phi"), SLOTS.index("psi"))


@dataclass(frozen=True)
class Unseen:
    """Reference MD of one peptide.

    Attributes:
        chain: the peptide.
        runs: torsions per independent run, (frames, scored torsions) radians.
        interval: ps between frames.
        columns: (token, slot) of each scored torsion.
        model: TICA, k-means and Markov state model of the reference.
    """

    chain: Chain
    runs: list[Floats]
    interval: float
    columns: list[tuple[int, int]]
    model: ReferenceModel

    @property
    def frames(self) -> Floats:
        """All reference frames, (frames, scored torsions)."""
        return np.concatenate(self.runs)


def unseen(chain: Chain, lanes: Floats, interval: float, temperature: float, known: set[tuple[int, int]]) -> Unseen:
    """Prepare the reference of a peptide.

    Args:
        chain: the peptide.
        lanes: (runs, frames, tokens, slots) radians.
        interval: ps between frames.
        temperature: kelvin.
        known: (token, slot) that the reference holds.
    """
    columns = [c for c in scored_torsions(chain) if c in known]
    runs: list[Floats] = [np.stack([lane[:, t, s] for t, s in columns], axis=1).astype(np.float64) for lane in lanes]
    names = tuple(f"{SLOTS[s]} {chain.names[t]}{t + 1}" for t, s in columns)
    spec = FeatureSpec("torsions", names, np.zeros((len(columns), 4), dtype=np.int64), ())
    stride = max(1, round(_LAG / interval / 2))
    thin = [run[::stride] for run in runs]
    model = ReferenceModel(
        spec, thin, interval=interval * stride, lag=_LAG, temperature=temperature, seed=0, dense=runs
    )
    return Unseen(chain, runs, interval, columns, model)


def distribution_scores(reference: Unseen, runs: Sequence[Floats], against: Floats | None = None) -> dict[str, float]:
    """JS distances of a set of runs to the reference, or to a part of it.

    Args:
        reference: of the peptide.
        runs: (frames, scored torsions) each.
        against: frames to compare with; all of the reference where None.

    Returns:
        Means over torsions ("torsions", "backbone", "side"), over planes ("ramachandran", "neighbours"), and "tica0",
        "tica01", "states" (stationary vectors of k-means states), "free energy" (mean absolute error of macrostates,
        kcal/mol).
    """
    whole, frames = reference.frames if against is None else against, np.concatenate(runs)
    columns, model = reference.columns, reference.model
    found = [js_distance(histogram(frames[:, k]), histogram(whole[:, k])) for k in range(len(columns))]
    backbone = np.array([s in _BACKBONE for _, s in columns])
    out = {"torsions": float(np.mean(found)), "backbone": float(np.mean(np.array(found)[backbone]))}
    if not backbone.all():
        out["side"] = float(np.mean(np.array(found)[~backbone]))
    place = {c: k for k, c in enumerate(columns)}
    for name, pairs in scored_planes(reference.chain).items():
        both = [(place[a], place[b]) for a, b in pairs if a in place and b in place]
        planes = [js_distance(plane(frames[:, a], frames[:, b]), plane(whole[:, a], whole[:, b])) for a, b in both]
        if planes:
            out[name] = float(np.mean(planes))
    mine, theirs = (np.concatenate(model.project([x])) for x in (frames, whole))
    for name, axes in (("tica0", [0]), ("tica01", [0, 1])):
        a, b = mine[:, axes], theirs[:, axes]
        out[name] = sample_js_distance(a, b, joint_grid(a, b))
    p, q = (np.bincount(model.discretise(x), minlength=model.states) for x in (mine, theirs))
    out["states"] = js_distance(p, q)
    sets = [np.bincount(model.membership[model.membership >= 0], weights=x[model.membership >= 0]) for x in (p, q)]
    shares = [x / x.sum() for x in sets]
    out["free energy"] = thermodynamics.free_energy_error(shares[1], shares[0], model.temperature)
    return out


def decorrelation_times(runs: Sequence[Floats], interval: float, longest: float) -> Floats:
    """Time in ps at which each torsion's autocorrelation falls to 1/e, infinity where it does not within `longest`.

    Args:
        runs: each (frames, torsions), radians.
        interval: between frames, ps.
        longest: the latest time looked at, ps.
    """
    steps = round(longest / interval)
    return np.array(
        [
            kinetics.decorrelation_time(kinetics.torsion_autocorrelation([r[:, k] for r in runs], steps), interval)
            for k in range(runs[0].shape[1])
        ]
    )


def slowest_timescale(reference: Unseen, runs: Sequence[Floats], interval: float) -> float:
    """Slowest implied timescale in ps of runs on the reference's states, at the reference's lag.

    Args:
        reference: the peptide's MD and its states.
        runs: each (frames, torsions), radians.
        interval: between frames, ps.
    """
    stride = max(1, round(_LAG / interval))
    paths = [reference.model.discretise(t) for t in reference.model.project([r[::stride] for r in runs])]
    counts = msm.transition_counts(paths, 1, reference.model.states).sum(axis=0)
    return float(msm.fit_reversible(counts).timescales(stride * interval, 1)[0])


def table_frames(table: ResidueTable, reference: Unseen, count: int, seed: int) -> Floats:
    """Frames (count, scored torsions) whose torsions are drawn from the table, each by itself.

    Args:
        table: histograms of torsions by residue type.
        reference: the peptide whose torsions are drawn.
        count: number of frames.
        seed: of the draws.
    """
    generator, out = np.random.default_rng(seed), []
    for token, slot in reference.columns:
        kind, place, d = reference.chain.types[token]
        counts = table.torsions[kind, place, slot]
        bins = generator.choice(BINS, count, p=counts / counts.sum())
        angles = (bins + generator.random(count)) / BINS * 2 * np.pi - np.pi
        out.append((1 - 2 * d) * angles)
    return np.stack(out, axis=1)


def run_columns(reference: Unseen, angles: Floats) -> list[Floats]:
    """Runs of scored torsions from rollouts [frames, runs, tokens, slots]."""
    picked = np.stack([angles[:, :, t, s] for t, s in reference.columns], axis=-1)
    return [picked[:, k] for k in range(picked.shape[1])]
