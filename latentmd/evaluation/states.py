"""Metastable states of a molecule: how they look, how full they are and how long they last, set by set of frames."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mdtraj
import numpy as np

from latentmd.analysis import features, kinetics, msm, statistics
from latentmd.analysis.features import FeatureSet, residue_labels, superposed
from latentmd.analysis.kinetics import Dwelling
from latentmd.analysis.metric import SHARE, Document
from latentmd.analysis.reference import CENTRES, ReferenceModel
from latentmd.analysis.statistics import Estimate, evenly
from latentmd.analysis.thermodynamics import basin_free_energy
from latentmd.arrays import Floats, Ints
from latentmd.evaluation.shape import KINDS, Shape, shape_of
from latentmd.io.atomic import replacing
from latentmd.report import figures, markup
from latentmd.report.page import Section
from latentmd.report.tables import cell, interval
from latentmd.units import format_time

_COMPARED, _BUNDLE = 60, 10  # frames of a state that the most typical is chosen from, and that are shown
_BINS, _TELLING = 12, 0.35  # bins of a feature, and JS distance to all other states from which on it tells a state
_FRAMES = 20  # for each centre of the model
_PATTERN = "state-*.pdb"
MD = ("training", "reference")  # sets that states are described by, if there are any


@dataclass(frozen=True)
class Occupation:
    """A set of frames in the states: populations, times, and of its whole frames the state, -1 outside of its core."""

    populations: list[Estimate]
    times: Dwelling
    kept: Ints
    data: FeatureSet
    shape: Shape


class States:
    """Metastable states A, B, … of a Markov model, the fullest first, and what `sets` of frames, by name and with runs
    at the spacing of the model, show of them. Where there are training data, the model is made of them as well.
    """

    def __init__(self, model: ReferenceModel, sets: Mapping[str, FeatureSet], topology: mdtraj.Topology) -> None:
        runs, lag = [*(sets["training"].runs if "training" in sets else []), *model.runs], model.lag * model.interval
        centres = min(CENTRES, max(2, sum(map(len, runs)) // _FRAMES))  # few frames would be told apart by their noise
        model = ReferenceModel(
            model.spec, runs, model.interval, lag=lag, temperature=model.temperature, seed=model.seed, centres=centres
        )
        self.model, self.topology = model, topology
        self.membership, self.core = msm.metastable_cores(model.counts)
        self.names = [chr(ord("A") + k) for k in range(int(self.membership.max()) + 1)]
        first = sets.get("reference", next(iter(sets.values()))).kept[0]
        self.shapes = {name: shape_of(data.kept, topology, first) for name, data in sets.items()}
        self.sets = {name: self._visits(data, self.shapes[name]) for name, data in sets.items()}

    def _visited(self, runs: Sequence[Floats]) -> tuple[list[Ints], list[Ints]]:
        """State of every frame of runs of features, and the same, -1 outside of cores."""
        cells = [self.model.discretise(t) for t in self.model.project(runs)]
        return [self.membership[c] for c in cells], [np.where(self.core[c], self.membership[c], -1) for c in cells]

    def _visits(self, data: FeatureSet, shape: Shape) -> Occupation:
        model, rng = self.model, np.random.default_rng(self.model.seed)
        labels, cores = self._visited(data.runs)
        inside = [[path == k for path in labels] for k in range(len(self.names))]
        populations = [basin_free_energy(paths, model.temperature, rng)[0] for paths in inside]
        times = kinetics.dwelling([kinetics.last_core(c) for c in cores], len(self.names), model.interval, rng)
        whole, kept = (x[0] for x in self._visited([model.spec.values(data.kept)]))
        kept = np.where(np.isin(whole, kept), kept, whole)  # all frames of a state whose core has none
        return Occupation(populations, times, kept, data, shape)

    def looks(self, state: int) -> str:
        """What tells a state from the others: secondary structure, else the features that differ most."""
        sets = [s for name, s in self.sets.items() if name in MD] or list(self.sets.values())
        inside = np.concatenate([s.kept == state for s in sets])
        outside = np.concatenate([(s.kept >= 0) & (s.kept != state) for s in sets])
        told = []
        for kind in KINDS if inside.any() and sets[0].shape.secondary else ():
            share = np.concatenate([s.shape.secondary[kind] for s in sets])[inside].mean(axis=0)
            held = np.flatnonzero(share > 0.5)
            stretches = np.split(held, np.flatnonzero(np.diff(held) > 1) + 1) if len(held) else []
            numbers = [[self.topology.residue(int(s[k])).resSeq for k in (0, -1)] for s in stretches]
            if numbers:
                told.append(f"{kind} " + ", ".join(f"{a}–{b}" if a != b else f"{a}" for a, b in numbers))
        if inside.any() and outside.any():
            values = self.model.spec.values(np.concatenate([s.data.kept for s in sets]))
            told += self._telling(values[inside], values[outside])
        return "; ".join(told)

    def _telling(self, inside: Floats, outside: Floats, most: int = 2) -> list[str]:
        """The features whose distributions in a state differ most from those elsewhere."""
        found = []
        spec, labels = self.model.spec, residue_labels(self.topology)
        ends = [[labels[self.topology.atom(int(i)).residue.index] for i in pair] for pair in spec.between]
        names = [*spec.names, *("–".join(pair) for pair in ends)]
        for column, (name, a, b) in enumerate(zip(names, inside.T, outside.T, strict=True)):
            torsions = spec.kind == "torsions" and column < len(spec.names)
            whole = statistics.TORSION_GRID if torsions else statistics.joint_grid(a, b)
            distance = statistics.sample_js_distance(a, b, replace(whole, bins=_BINS))
            if torsions:
                here, there = (f"{np.rad2deg(np.angle(np.exp(1j * x).mean())):.0f}°" for x in (a, b))
            else:
                here, there = (f"{x.mean():.2f} nm" for x in (a, b))
            found.append((distance, f"{figures.symbol(name)} {here} (elsewhere {there})"))
        return [text for distance, text in sorted(found, reverse=True)[:most] if distance > _TELLING]

    def bundles(self, state: int) -> dict[str, Floats]:
        """A few frames (frames, atoms, 3) of a state of each set that visits it, superposed, the most typical first."""
        found: dict[str, Floats] = {}
        for name, visits in self.sets.items():
            here = np.flatnonzero(visits.kept == state)
            if not len(here):
                continue
            here = here[evenly(len(here), _COMPARED)]
            heavy = visits.shape.heavy[here]
            typical = np.argmin([superposed(heavy, frame)[1].mean() for frame in heavy])
            others = np.delete(here, typical)
            frames = visits.data.kept[[here[typical], *others[evenly(len(others), _BUNDLE - 1)]]]
            found[name] = superposed(frames, next(iter(found.values()))[0] if found else frames[0])[0]
        return found

    def record(self) -> Document:
        """The states as evaluation.json holds them, times in ps."""
        states: dict[str, Document] = {}
        for k, name in enumerate(self.names):
            states[name] = {"looks": self.looks(k)}
            for label, s in self.sets.items():
                p, t = s.populations[k], s.times
                own = {"population": p.value, "population_95": [p.low, p.high]}
                own |= {"life_ps": t.lives[k], "life_95": t.life_bounds[:, k]}
                inside = s.kept == k
                states[name][label] = own | (s.shape.mean(inside) if inside.any() else {})
        passages: Document = {}
        for i, j in itertools.permutations(range(len(self.names)), 2):
            times = {label: (s.times.passages[i, j], s.times.passage_bounds[:, i, j]) for label, s in self.sets.items()}
            found = {label: {"mean": mean, "interval_95": bounds} for label, (mean, bounds) in times.items()}
            passages[f"{self.names[i]} to {self.names[j]}"] = found
        return {"lag_ps": self.model.lag * self.model.interval, "states": states, "first_passage_ps": passages}

    def section(self, folder: Path) -> Section:
        """Tables and pictures of the states; writes a PDB file of each and of each set into the folder."""
        for old in folder.glob(_PATTERN):
            old.unlink()
        record, rows, drawn = self.record(), [], []
        for k, (name, entry) in enumerate(record["states"].items()):
            for place, label in enumerate(self.sets):
                own, told = entry[label], (name, entry["looks"]) if place == 0 else ("", "")
                share = (
                    cell(own["population"], SHARE),
                    interval(own["population_95"][0], own["population_95"][1], SHARE),
                )
                shape = (cell(own.get(key)) for key in ("rmsd_nm", "gyration_nm", "contacts"))
                rows.append((*told, label, *share, *_time(own["life_ps"], own["life_95"], "never left"), *shape))
            bundles = self.bundles(k)
            if not bundles:
                continue
            for label, frames in bundles.items():
                with replacing(folder / f"state-{name}-{label}.pdb") as temporary:
                    mdtraj.Trajectory(frames, self.topology).save_pdb(str(temporary))
            shares = ", ".join(f"{label} {cell(entry[label]['population'], SHARE)}" for label in self.sets)
            drawn.append((figures.bundles(bundles, self.topology), f"State {name} ({shares}). {entry['looks']}"))
        headings = ("state", "what tells it apart", "frames", "population", "95 %", "life time", "95 %")
        body = markup.table((*headings, "RMSD, nm", "R_g, nm", "contacts"), rows)
        if len(self.names) > 1:
            cells = [
                (way, *("; ".join(_time(x["mean"], x["interval_95"], "never seen")) for x in found.values()))
                for way, found in record["first_passage_ps"].items()
            ]
            body += markup.table(("mean first passage", *self.sets), cells)
        return Section("States", _EXPLAINED.format(lag=format_time(record["lag_ps"])), body, drawn)


_EXPLAINED = (
    "Metastable states at a lag of {lag}: PCCA+ sets of the Markov model, as many as leave the widest gap between its "
    "timescales. Populations are shares of frames, their intervals from runs drawn again; times are from core to core. "
    "RMSD is to the first frame. Pictures and state-*.pdb: the most typical frame and nine others, superposed."
)


def _time(value: float, bounds: Floats, never: str) -> tuple[str, str]:
    """A time in ps and its interval as text; infinity in the words `never`."""
    if np.isnan(value):
        return "not visited", ""
    low, high = (format_time(float(f"{t:.3g}")) if np.isfinite(t) else "" for t in bounds)
    mean = format_time(float(f"{value:.3g}")) if np.isfinite(value) else never
    return mean, f"{low} to {high}" if high else f"over {low}"


def states_of_run(files: Sequence[Path], topology: mdtraj.Topology, lag: float, temperature: float) -> States:
    """States of the trajectories of one run alone, at about a lag in ps; EvaluationError where they are too short."""
    spec = features.feature_spec(topology)
    data = features.read_set(files, topology, spec, None)
    lag = data.interval * max(1, round(lag / data.interval))
    model = ReferenceModel(spec, data.runs, data.interval, lag=lag, temperature=temperature, seed=0)
    return States(model, {"generated": data}, topology)
