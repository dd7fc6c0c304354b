"""The comparison itself: every distribution and kinetic metric of a generated set against a model of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from latentmd.analysis import kinetics, msm, statistics, thermodynamics
from latentmd.analysis.metric import SHARE, Comparison, Metric
from latentmd.analysis.reference import ReferenceModel
from latentmd.analysis.statistics import Estimate, Grid
from latentmd.arrays import Bools, Floats, Ints
from latentmd.io.progress import Tick, silent

_BLOCKS = 20  # blocks of the bootstrap, of all frames together
#: The positive-phi basin of an L-residue, and the cores whose visits count as a transition (radians).
POSITIVE_PHI = (0.0, np.deg2rad(125.0))
_POSITIVE_CORE = (np.deg2rad(30.0), np.deg2rad(90.0))
_NEGATIVE_CORE = (np.deg2rad(-160.0), np.deg2rad(-40.0))
_MAX_BASINS = 4


def compare(
    reference: ReferenceModel, runs: Sequence[Floats], *, brief: bool = False, tick: Tick = silent
) -> Comparison:
    """Every distribution and kinetic metric of a generated set, features (frames, features) per run; a brief
    comparison, as for baselines, has no implied timescales, Chapman-Kolmogorov test and floors.
    """
    s = _Scoring(reference, runs, brief)
    parts = [s.torsions, s.tica, s.states, s.basins, s.correlations, s.sampling, *([] if brief else [s.timescales])]
    for index, part in enumerate(parts):
        tick(index, len(parts))
        s.result.metrics += part()
    return s.result


def point_values(reference: ReferenceModel, runs: Sequence[Floats]) -> dict[str, float]:
    """The metrics that `compare` gives baselines, and the slowest timescales, as numbers by name without intervals."""
    values = {m.name: m.value for m in compare(reference, runs, brief=True).metrics}
    paths = [reference.discretise(t) for t in reference.project(runs)]
    for lag in _timescale_lags(reference, runs):
        model, time = msm.fit_paths(paths, lag, reference.states), lag * reference.interval
        values[f"slowest implied timescale, lag {time:g} ps"] = float(model.timescales(time, 1)[0])
    return values


def js_metric(
    name: str, reference: Sequence[Floats], generated: Sequence[Floats], grid: Grid, effective: float, *,
    rng: np.random.Generator, brief: bool,
) -> Metric:  # fmt: skip
    """JS distance of two sets of samples (frames, axes) per run, with its interval and, unless brief, floors."""
    own, other = ([grid.indices(run) for run in runs] for runs in (generated, reference))
    bins, frames = grid.size, sum(map(len, own))
    total = np.bincount(np.concatenate(other), minlength=bins).astype(np.float64)
    value = statistics.js_distance(np.bincount(np.concatenate(own), minlength=bins), total)
    blocks = statistics.split_blocks([len(run) for run in own], max(frames // _BLOCKS, 1))
    counts = np.stack([np.bincount(own[r][a:b], minlength=bins) for r, a, b in blocks]).astype(np.float64)
    low, high = statistics.bootstrap_interval(counts, lambda c: statistics.js_distance(c, total), rng, 100)
    half = 0.5 * (high - low)  # resampled histograms are noisier, so only the width of their scatter is used
    metric = Metric(name, "distribution", value, low=max(value - half, 0.0), high=value + half)
    if brief:
        return metric
    floor = statistics.finite_sample_floor(other, bins, frames, effective, rng)
    short = "" if floor.frames >= frames else ", half of the reference"
    note = f"floors: {floor.frames} frames of MD in one stretch{short}; ({effective:.0f}) and [{floor.frames}] "
    metric = replace(metric, floor=floor.value, floor_effective=floor.effective, floor_independent=floor.independent)
    return replace(metric, note=note + "frames of MD drawn independently")


class _Scoring:
    """One generated set beside the reference; each method gives the metrics of one kind and stores their curves."""

    def __init__(self, reference: ReferenceModel, runs: Sequence[Floats], brief: bool) -> None:
        self.reference, self.spec, self.runs, self.brief = reference, reference.spec, runs, brief
        self.rng = np.random.default_rng(reference.seed)
        self.js = partial(js_metric, rng=self.rng, brief=brief)
        self.tics = reference.project(runs)
        self.paths = [reference.discretise(t) for t in self.tics]
        self.result = Comparison([])
        self.curves = self.result.curves

    def _columns(self, *columns: int) -> tuple[list[Floats], list[Floats]]:
        """Features of the reference and of the generated set."""
        dense, runs = ([run[:, list(columns)] for run in s] for s in (self.reference.dense, self.runs))
        return dense, runs

    def _effective(self, column: int) -> float:
        """Effective samples of a torsion (the mean of its sine's and cosine's) or of a distance."""
        if self.brief:
            return 1.0
        series = [run[:, column] for run in self.runs]
        if self.spec.kind == "distances":
            return statistics.effective_samples(series)
        return float(np.mean([statistics.effective_samples([f(s) for s in series]) for f in (np.cos, np.sin)]))

    def torsions(self) -> list[Metric]:
        spec, rows = self.spec, []
        for column, name in enumerate(spec.names):
            sets = self._columns(column)
            grid = statistics.TORSION_GRID if spec.kind == "torsions" else statistics.joint_grid(*sets[1], *sets[0])
            rows.append(self.js(f"JS {name}", *sets, grid, self._effective(column)))
        kinds = {"all": rows}
        backbone = [row for i, row in enumerate(rows) if spec.is_backbone(i)]
        if spec.kind == "torsions" and 0 < len(backbone) < len(rows):
            kinds |= {"backbone": backbone, "side chain": [r for i, r in enumerate(rows) if not spec.is_backbone(i)]}
        found = [_mean_metric(f"JS distance, {spec.kind} ({label})", part) for label, part in kinds.items()]
        planes = [
            self.js("", *self._columns(phi, psi), statistics.TORSION_PAIR_GRID, self._effective(psi))
            for phi, psi in spec.pairs
        ]
        return found + ([_mean_metric("JS distance, (phi, psi)", planes)] if planes else [])

    def tica(self) -> list[Metric]:
        effective = 1.0 if self.brief else statistics.effective_samples([t[:, 0] for t in self.tics])
        found = []
        for columns, name in (([0], "JS distance, TICA-0"), ([0, 1], "JS distance, TICA-0,1")):
            if len(columns) > self.reference.tics[0].shape[1]:
                continue
            theirs, ours = ([t[:, columns] for t in s] for s in (self.reference.dense_tics, self.tics))
            grid = statistics.joint_grid(*ours, *theirs)
            found.append(self.js(name, theirs, ours, grid, effective))
            self.curves["tica_grid"] = grid
            self.curves["tica_counts"] = (sum(grid.counts(t) for t in theirs), sum(grid.counts(t) for t in ours))
        return found

    def states(self) -> list[Metric]:
        reference = self.reference
        populations, own_populations = (reference.macrostates(paths) for paths in (reference.paths, self.paths))
        floors = (None, None) if self.brief else _state_floors(reference, sum(map(len, self.paths)), populations)
        missing = int(np.count_nonzero((own_populations == 0) & (populations > 0)))
        note = f"{reference.sets} macrostates: one more than the processes slower than the lag, at least two"
        if missing:
            note = f"{missing} of {reference.sets} macrostates never visited"
        distance, error = _population_errors(own_populations, populations, reference.temperature)
        if not np.isfinite(distance):
            note = "undefined: the connected states of the two sets do not overlap; use longer runs"
        name, group = "free-energy error, macrostates", "thermodynamics"
        return [
            Metric("JS distance, MSM states", "distribution", distance, floor=floors[0], note=note),
            Metric(name, group, error, "kcal/mol", floor=floors[1], note=note),
        ]

    def basins(self) -> list[Metric]:
        """Basins of positive phi of L-residues where that is a rare event: not of glycine or proline."""
        reference, names, found = self.reference, self.spec.names, []
        columns = [phi for phi, _ in self.spec.pairs if not names[phi].startswith(("phi GLY", "phi PRO"))]
        for column in columns[:_MAX_BASINS]:
            label = names[column].split()[1]
            sets = [[_within(run[:, 0], POSITIVE_PHI) for run in s] for s in self._columns(column)]
            md, own = (thermodynamics.basin_free_energy(s, reference.temperature, self.rng) for s in sets)
            note, group = "" if own[0].value > 0 else "the basin is never visited", "thermodynamics"
            for what, unit, a, b in zip(("population", "free energy"), (SHARE, "kcal/mol"), own, md, strict=True):
                found.append(Metric.of(f"{what} of phi > 0, {label}", group, a, b, unit=unit, note=note))
            passages = []
            for s in (reference.runs, self.runs):
                angles = [run[:, column] for run in s]
                cores = [kinetics.core_path(_within(a, _NEGATIVE_CORE), _within(a, _POSITIVE_CORE)) for a in angles]
                passages.append(kinetics.first_passage_times(cores, reference.interval))
            for direction, a, b in zip(("to phi > 0", "back to phi < 0"), *passages, strict=True):
                note = f"{b.events} transitions; reference {a.events}"
                found.append(Metric.of(f"first passage {direction}, {label}", "kinetics", b, a, unit="ps", note=note))
        return found

    def correlations(self) -> list[Metric]:
        reference = self.reference
        if self.spec.kind != "torsions":
            return []
        max_lag = min(10 * reference.lag, max(len(r) for r in self.runs) - 1)
        limit, curves = f"{max_lag * reference.interval:g} ps", {}
        for column, name in enumerate(self.spec.names):
            series = [[r[:, column] for r in s] for s in (reference.runs, self.runs)]
            curves[name] = tuple(kinetics.torsion_autocorrelation(s, max_lag) for s in series)
        self.curves["correlations"] = curves
        times = {n: [kinetics.decorrelation_time(c, reference.interval) for c in pair] for n, pair in curves.items()}
        finite = {n: pair for n, pair in times.items() if np.isfinite(pair).all()}
        if len(times) <= 8:
            notes = {n: "" if n in finite else f"longer than {limit}" for n in times}
            return [
                Metric(f"decorrelation time, {n}", "kinetics", own, "ps", md, note=notes[n])
                for n, (md, own) in times.items()
            ]
        ratios = [own / md for md, own in finite.values() if min(md, own) > 0]
        ratio = float(np.median(ratios)) if ratios else float("nan")
        note = f"{len(ratios)} of {len(times)} torsions decorrelate within {limit} in both"
        return [Metric("decorrelation time over MD's, median", "kinetics", ratio, "", reference=1.0, note=note)]

    def sampling(self) -> list[Metric]:
        md, own = (statistics.effective_samples([t[:, 0] for t in s]) for s in (self.reference.tics, self.tics))
        planes = [np.concatenate(list(s))[:, :2] for s in (self.tics, self.reference.dense_tics)]
        missed = statistics.missing_region(planes[0], planes[1])
        note = "zero: a region that MD holds is missing" if missed else ""
        return [Metric("effective samples, TIC-0", "sampling", 0.0 if missed else own, "", md, note=note)]

    def timescales(self) -> list[Metric]:
        reference, found = self.reference, []
        lags, sets = _timescale_lags(reference, self.paths), (reference.paths, self.paths)
        scales = [msm.implied_timescales(p, lags, reference.states, reference.interval, self.rng) for p in sets]
        self.curves["timescales"] = tuple(scales)
        for row, k in enumerate(lags):
            name = f"slowest implied timescale, lag {k * reference.interval:g} ps"
            md, own = (Estimate(s.values[row, 0], s.low[row, 0], s.high[row, 0]) for s in scales)
            found.append(Metric.of(name, "kinetics", own, md, "ps"))
        membership = np.where(reference.membership < 0, 0, reference.membership)
        tests = [msm.chapman_kolmogorov(p, reference.lag, membership) for p in sets]
        self.curves["chapman_kolmogorov"] = tuple(tests)
        note = "largest difference of a staying probability up to four lags"
        return [*found, Metric("Chapman-Kolmogorov error", "kinetics", tests[1].error, "", tests[0].error, note=note)]


def _mean_metric(name: str, rows: Sequence[Metric]) -> Metric:
    means = {}
    for field in ("value", "floor", "floor_effective", "floor_independent", "low", "high"):
        values = [getattr(row, field) for row in rows]
        means[field] = None if None in values else float(np.mean(values))
    return replace(rows[0], name=name, **means)  # type: ignore[arg-type]


def _population_errors(own: Floats, populations: Floats, temperature: float) -> tuple[float, float]:
    """JS distance and mean free-energy error of macrostates; nan where one of the sets visits none of them."""
    if not (own.sum() > 0 and populations.sum() > 0):
        return float("nan"), float("nan")
    return statistics.js_distance(own, populations), thermodynamics.free_energy_error(populations, own, temperature)


def _state_floors(reference: ReferenceModel, frames: int, populations: Floats) -> tuple[float | None, float | None]:
    """Scores of parts of the reference, as long as the generated set; None where a part visits no connected state."""
    path = reference.membership[np.concatenate(reference.paths)]
    held = min(frames, len(path) // 2)
    parts = [path[start : start + held] for start in np.linspace(0, len(path) - held, 4).astype(int)]
    own = [np.bincount(part[part >= 0], minlength=reference.sets) / held for part in parts]
    distance, error = np.mean([_population_errors(p, populations, reference.temperature) for p in own], axis=0)
    return (float(distance), float(error)) if np.isfinite(distance) else (None, None)


def _within(values: Floats, bounds: tuple[float, float]) -> Bools:
    return np.asarray((values > bounds[0]) & (values < bounds[1]))


def _timescale_lags(reference: ReferenceModel, runs: Sequence[Floats] | Sequence[Ints]) -> list[int]:
    """Half the lag, the lag and twice it, in frames, as far as the runs reach."""
    lag, longest = reference.lag, min(max(len(p) for p in s) for s in (runs, reference.paths))
    return [k for k in sorted({max(lag // 2, 1), lag, 2 * lag, 4 * lag if lag == 1 else lag}) if 2 * k < longest]
