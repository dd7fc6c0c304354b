"""The comparison itself: every distribution and kinetic metric of a generated set against a model of the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from latentmd.analysis import kinetics, msm, statistics, thermodynamics
from latentmd.analysis.features import FeatureSpec
from latentmd.analysis.metric import SHARE, Comparison, Metric
from latentmd.analysis.reference import ReferenceModel
from latentmd.analysis.statistics import Grid
from latentmd.arrays import Floats, Ints
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
    """Every distribution and kinetic metric of a generated set against the reference.

    Args:
        reference: model of the reference.
        runs: generated features per run, at the reference's spacing, (frames, features).
        brief: leave out implied timescales, the Chapman-Kolmogorov test and the floors, as for baselines.
        tick: called with the kinds of metrics done and their number.
    """
    rng = np.random.default_rng(reference.seed)
    tics = reference.project(runs)
    paths = [reference.discretise(t) for t in tics]
    result = Comparison([])
    parts: list[Callable[[], None]] = [
        lambda: _torsion_metrics(reference, runs, result, rng, brief),
        lambda: _tica_metrics(reference, tics, result, rng, brief),
        lambda: _state_metrics(reference, paths, result, rng, brief),
        lambda: _basin_metrics(reference, runs, result, rng),
        lambda: _correlation_metrics(reference, runs, result),
        lambda: _sampling_metrics(reference, tics, result),
    ]
    if not brief:
        parts.append(lambda: _timescale_metrics(reference, paths, result, rng))
    for index, part in enumerate(parts):
        tick(index, len(parts))
        part()
    return result


def point_values(reference: ReferenceModel, runs: Sequence[Floats]) -> dict[str, float]:
    """The metrics that `compare` gives baselines, and the slowest timescales, as numbers by name without intervals.

    Args:
        reference: MD and its states.
        runs: features to score, (frames, features) per run.
    """
    values = {m.name: m.value for m in compare(reference, runs, brief=True).metrics}
    paths = [reference.discretise(t) for t in reference.project(runs)]
    for lag in _timescale_lags(reference, runs):
        counts = msm.transition_counts(paths, lag, reference.states).sum(axis=0)
        time = lag * reference.interval
        values[f"slowest implied timescale, lag {time:g} ps"] = float(
            msm.fit_reversible(counts, lag).timescales(time, 1)[0]
        )
    return values


def js_metric(
    name: str, group: str, reference: Sequence[Floats], generated: Sequence[Floats], grid: Grid,
    rng: np.random.Generator, brief: bool, effective: float,
) -> Metric:  # fmt: skip
    """JS distance of two sets of samples on a grid, with its interval and floors.

    Args:
        name, group: of the metric.
        reference, generated: samples (frames, axes of the grid) per run.
        grid: bins.
        rng: of the resampling and the splits.
        brief: leave out the floors.
        effective: effective samples of the generated set.
    """
    own, other = [grid.indices(r) for r in generated], [grid.indices(r) for r in reference]
    return _js_of_indices(name, group, other, generated=own, bins=grid.size, rng=rng, brief=brief, effective=effective)


def _js_of_indices(
    name: str, group: str, reference: Sequence[Ints], generated: Sequence[Ints], bins: int,
    rng: np.random.Generator, brief: bool, effective: float,
) -> Metric:  # fmt: skip
    total = np.bincount(np.concatenate(list(reference)), minlength=bins).astype(np.float64)
    frames = sum(len(g) for g in generated)
    counts = statistics.block_counts(generated, bins, max(frames // _BLOCKS, 1))
    value = statistics.js_distance(np.bincount(np.concatenate(list(generated)), minlength=bins), total)
    low, high = statistics.bootstrap_interval(counts, lambda c: statistics.js_distance(c, total), rng, 100)
    half = 0.5 * (high - low)  # resampled histograms are noisier, so only the width of their scatter is used
    if brief:
        return Metric(name, group, value, low=max(value - half, 0.0), high=value + half)
    floor = statistics.finite_sample_floor(reference, bins, frames, effective, rng)
    short = "" if floor.frames >= frames else ", half of the reference"
    note = f"floors: {floor.frames} frames of MD in one stretch{short}; ({effective:.0f}) and [{floor.frames}] frames "
    return Metric(
        name, group, value, floor=floor.value, floor_effective=floor.effective, floor_independent=floor.independent,
        low=max(value - half, 0.0), high=value + half, note=note + "of MD drawn independently",
    )  # fmt: skip


def _torsion_metrics(
    reference: ReferenceModel, runs: Sequence[Floats], result: Comparison, rng: np.random.Generator, brief: bool
) -> None:
    spec, group = reference.spec, "distribution"
    rows = []
    for column, name in enumerate(spec.names):
        ours, theirs = [r[:, column] for r in runs], [r[:, column] for r in reference.dense]
        grid = statistics.TORSION_GRID if spec.kind == "torsions" else statistics.joint_grid(*ours, *theirs)
        effective = 1.0 if brief else _effective(ours, spec.kind)
        rows.append(
            js_metric(f"JS {name}", group, theirs, generated=ours, grid=grid, rng=rng, brief=brief, effective=effective)
        )
    kinds = {"all": list(range(len(rows)))}
    if spec.kind == "torsions":
        kinds["backbone"] = [i for i in kinds["all"] if spec.is_backbone(i)]
        kinds["side chain"] = [i for i in kinds["all"] if not spec.is_backbone(i)]
        if not (kinds["backbone"] and kinds["side chain"]):
            kinds = {"all": kinds["all"]}
    for label, members in kinds.items():
        if members:
            result.metrics.append(_mean_metric(f"JS distance, {spec.kind} ({label})", [rows[i] for i in members]))
    if spec.pairs:
        pairs = []
        for phi, psi in spec.pairs:
            ours, theirs = [r[:, [phi, psi]] for r in runs], [r[:, [phi, psi]] for r in reference.dense]
            effective = 1.0 if brief else _effective([r[:, 1] for r in ours], spec.kind)
            grid = statistics.TORSION_PAIR_GRID
            pairs.append(
                js_metric("", group, theirs, generated=ours, grid=grid, rng=rng, brief=brief, effective=effective)
            )
        result.metrics.append(_mean_metric("JS distance, (phi, psi)", pairs))
    result.curves["per_torsion"] = {row.name[3:]: row.value for row in rows}


def _mean_metric(name: str, rows: Sequence[Metric]) -> Metric:
    def mean(attribute: str) -> float | None:
        values = [getattr(row, attribute) for row in rows]
        return None if any(v is None for v in values) else float(np.mean(values))

    return Metric(
        name, "distribution", float(np.mean([row.value for row in rows])), floor=mean("floor"),
        floor_effective=mean("floor_effective"), floor_independent=mean("floor_independent"), low=mean("low"),
        high=mean("high"), note=rows[0].note,
    )  # fmt: skip


def _effective(series: Sequence[Floats], kind: str) -> float:
    """Effective samples of a torsion (the mean of its sine's and cosine's) or of a distance."""
    if kind == "distances":
        return statistics.effective_samples(series)
    return float(np.mean([statistics.effective_samples([f(s) for s in series]) for f in (np.cos, np.sin)]))


def _tica_metrics(
    reference: ReferenceModel, tics: Sequence[Floats], result: Comparison, rng: np.random.Generator, brief: bool
) -> None:
    effective = 1.0 if brief else statistics.effective_samples([t[:, 0] for t in tics])
    for columns, name in (([0], "JS distance, TICA-0"), ([0, 1], "JS distance, TICA-0,1")):
        if len(columns) > reference.tics[0].shape[1]:
            continue
        ours, theirs = [t[:, columns] for t in tics], [t[:, columns] for t in reference.dense_tics]
        grid = statistics.joint_grid(*ours, *theirs)
        result.metrics.append(
            js_metric(
                name, "distribution", theirs, generated=ours, grid=grid, rng=rng, brief=brief, effective=effective
            )
        )
        result.curves["tica_grid"] = grid
        result.curves["tica_counts"] = (sum(grid.counts(t) for t in theirs), sum(grid.counts(t) for t in ours))


def _state_metrics(
    reference: ReferenceModel, paths: Sequence[Ints], result: Comparison, rng: np.random.Generator, brief: bool
) -> None:
    populations, flux = reference.macrostates(reference.paths)
    own_populations, own_flux = reference.macrostates(paths)
    floor = error_floor = None
    if not brief:
        floor, error_floor = _state_floors(reference, sum(len(p) for p in paths), populations)
    missing = int(np.count_nonzero((own_populations == 0) & (populations > 0)))
    note = f"{reference.sets} macrostates: one more than the processes slower than the lag, at least two"
    if missing:
        note = f"{missing} of {reference.sets} macrostates never visited"
    distance, error = _population_errors(own_populations, populations, reference.temperature)
    if not np.isfinite(distance):
        note = "undefined: the connected states of the two sets do not overlap; use longer runs"
    result.metrics.append(Metric("JS distance, MSM states", "distribution", distance, floor=floor, note=note))
    result.metrics.append(
        Metric("free-energy error, macrostates", "thermodynamics", error, "kcal/mol", floor=error_floor, note=note)
    )
    result.curves["states"] = (populations, own_populations)
    result.curves["flux"] = (flux, own_flux)


def _population_errors(own: Floats, populations: Floats, temperature: float) -> tuple[float, float]:
    """JS distance and mean free-energy error of macrostates; nan where one of the sets visits none of them."""
    if not (own.sum() > 0 and populations.sum() > 0):
        return float("nan"), float("nan")
    error = thermodynamics.free_energy_error(populations, own, temperature)
    return statistics.js_distance(own, populations), error


def _state_floors(reference: ReferenceModel, frames: int, populations: Floats) -> tuple[float | None, float | None]:
    """Scores of contiguous parts of the reference, as long as the generated set, against the whole of it.

    None where a part visits no connected state, so that short runs get no floor instead of a wrong one.
    """
    path = reference.membership[np.concatenate(reference.paths)]
    held = min(frames, len(path) // 2)
    scores = []
    for start in np.linspace(0, len(path) - held, 4).astype(int):
        part = path[start : start + held]
        own = np.bincount(part[part >= 0], minlength=reference.sets) / held
        scores.append(_population_errors(own, populations, reference.temperature))
    distance, error = np.mean(scores, axis=0)
    return (float(distance), float(error)) if np.isfinite(distance) else (None, None)


def _basin_columns(spec: FeatureSpec) -> list[int]:
    """Phi columns of L-residues whose rotation to positive phi is a rare event: not glycine or proline."""
    rigid = ("phi GLY", "phi PRO")
    return [phi for phi, _ in spec.pairs if not spec.names[phi].startswith(rigid)][:_MAX_BASINS]


def _within(values: Floats, bounds: tuple[float, float]) -> Any:
    return (values > bounds[0]) & (values < bounds[1])


def _basin_metrics(
    reference: ReferenceModel, runs: Sequence[Floats], result: Comparison, rng: np.random.Generator
) -> None:
    for column in _basin_columns(reference.spec):
        label = reference.spec.names[column].split()[1]
        angles = [[r[:, column] for r in s] for s in (reference.runs, runs)]
        basins = [
            thermodynamics.basin_free_energy(
                [_within(r[:, column], POSITIVE_PHI) for r in s], reference.temperature, rng
            )
            for s in (reference.dense, runs)
        ]
        md, own = basins
        note = "" if own.population > 0 else "the basin is never visited"
        result.metrics += [
            Metric(f"population of phi > 0, {label}", "thermodynamics", own.population, SHARE, md.population,
                   low=own.population_low, high=own.population_high, reference_low=md.population_low,
                   reference_high=md.population_high, note=note),
            Metric(f"free energy of phi > 0, {label}", "thermodynamics", own.value, "kcal/mol", md.value,
                   low=own.low, high=own.high, reference_low=md.low, reference_high=md.high, note=note),
        ]  # fmt: skip
        passages = []
        for series in angles:
            cores = [kinetics.core_path(_within(a, _NEGATIVE_CORE), _within(a, _POSITIVE_CORE)) for a in series]
            passages.append(kinetics.first_passage_times(cores, reference.interval))
        for direction, a, b in zip(("to phi > 0", "back to phi < 0"), *passages, strict=True):
            note = f"{b.events} transitions; reference {a.events}"
            result.metrics.append(
                Metric(f"first passage {direction}, {label}", "kinetics", b.value, "ps", a.value, low=b.low,
                       high=b.high, reference_low=a.low, reference_high=a.high, note=note)
            )  # fmt: skip


def _correlation_metrics(reference: ReferenceModel, runs: Sequence[Floats], result: Comparison) -> None:
    if reference.spec.kind != "torsions":
        return
    max_lag = min(10 * reference.lag, max(len(r) for r in runs) - 1)
    curves = {}
    for column, name in enumerate(reference.spec.names):
        series = [[r[:, column] for r in s] for s in (reference.runs, runs)]
        curves[name] = tuple(kinetics.torsion_autocorrelation(s, max_lag) for s in series)
    result.curves["correlations"] = curves
    times = {n: [kinetics.decorrelation_time(c, reference.interval) for c in pair] for n, pair in curves.items()}
    if len(times) <= 8:
        for name, (md, own) in times.items():
            note = "" if np.isfinite([md, own]).all() else f"longer than {max_lag * reference.interval:g} ps"
            result.metrics.append(Metric(f"decorrelation time, {name}", "kinetics", own, "ps", md, note=note))
        return
    finite = {n: pair for n, pair in times.items() if np.isfinite(pair).all() and min(pair) > 0}
    ratio = np.median([own / md for md, own in finite.values()]) if finite else np.nan
    note = f"{len(finite)} of {len(times)} torsions decorrelate within {max_lag * reference.interval:g} ps in both"
    result.metrics.append(
        Metric("decorrelation time over MD's, median", "kinetics", float(ratio), "", reference=1.0, note=note)
    )


def _sampling_metrics(reference: ReferenceModel, tics: Sequence[Floats], result: Comparison) -> None:
    md = statistics.effective_samples([t[:, 0] for t in reference.tics])
    own = statistics.effective_samples([t[:, 0] for t in tics])
    planes = [np.concatenate(list(t))[:, :2] for t in (tics, reference.dense_tics)]
    missed = statistics.missing_region(planes[0], planes[1])
    note = "zero: a region that MD holds is missing" if missed else ""
    result.metrics.append(Metric("effective samples, TIC-0", "sampling", 0.0 if missed else own, "", md, note=note))


def _timescale_lags(reference: ReferenceModel, runs: Sequence[Any]) -> list[int]:
    """Half the lag, the lag and twice it, in frames, as far as the runs reach."""
    lag, longest = reference.lag, min(max(len(p) for p in s) for s in (runs, reference.paths))
    return [k for k in sorted({max(lag // 2, 1), lag, 2 * lag, 4 * lag if lag == 1 else lag}) if 2 * k < longest]


def _timescale_metrics(
    reference: ReferenceModel, paths: Sequence[Ints], result: Comparison, rng: np.random.Generator
) -> None:
    lag, lags = reference.lag, _timescale_lags(reference, paths)
    scales = [
        msm.implied_timescales(p, lags, reference.states, reference.interval, rng) for p in (reference.paths, paths)
    ]
    result.curves["timescales"] = tuple(scales)
    md, own = scales
    for row, k in enumerate(lags):
        result.metrics.append(
            Metric(f"slowest implied timescale, lag {k * reference.interval:g} ps", "kinetics", own.values[row, 0],
                   "ps", md.values[row, 0], low=own.low[row, 0], high=own.high[row, 0],
                   reference_low=md.low[row, 0], reference_high=md.high[row, 0])
        )  # fmt: skip
    sets = np.where(reference.membership < 0, 0, reference.membership)
    tests = [msm.chapman_kolmogorov(p, lag, sets) for p in (reference.paths, paths)]
    result.curves["chapman_kolmogorov"] = tuple(tests)
    result.metrics.append(
        Metric("Chapman-Kolmogorov error", "kinetics", tests[1].error, "", tests[0].error,
               note="largest difference of a staying probability up to four lags")
    )  # fmt: skip
