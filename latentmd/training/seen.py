"""What training data can teach: slow transitions seen, timescales beside the length of runs, and from which lag on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from latentmd.analysis import msm
from latentmd.analysis.features import EvaluationError, feature_spec, molecules_of
from latentmd.analysis.kinetics import core_path
from latentmd.analysis.reference import ReferenceModel
from latentmd.arrays import Floats, Ints
from latentmd.training.config import TrainingConfig
from latentmd.training.data import Source
from latentmd.units import format_time, percent

logger = logging.getLogger(__name__)

_ENOUGH = 50  # transitions of the slowest process, which leave its populations a relative error of a fifth
_MARKOV = 0.1  # error of the Chapman-Kolmogorov test above which steps of a lag do not compose
_LEAST = 0.01  # population of a state that is told of


@dataclass(frozen=True)
class Seen:
    """What runs of MD show of their molecule.

    Attributes:
        time: of all runs together, ps.
        runs: how many there are.
        timescale: of the slowest process and its 95 % interval, ps; nan where it is not resolved.
        transitions: between the two sides of the slowest process, core to core.
        markov_error: largest error of the Chapman-Kolmogorov test at `lag` ps.
        populations: of the metastable states.
        in_runs: number of runs that each state was seen in.
    """

    time: float
    runs: int
    lag: float
    timescale: tuple[float, float, float]
    transitions: int
    markov_error: float
    populations: list[float]
    in_runs: list[int]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Seen:
        """The same from its record."""
        slow, low, high = (float("nan") if t is None else t for t in record["timescale"])
        return cls(**{**record, "timescale": (slow, low, high)})

    def record(self) -> dict[str, Any]:
        """JSON values, for a manifest; what is not resolved is None."""
        return asdict(self) | {"timescale": [t if np.isfinite(t) else None for t in self.timescale]}

    def sentences(self) -> list[str]:
        """What it means for a model of the data."""
        slow, low, high = self.timescale
        times = f"{_short(self.time)} in {self.runs} runs"
        found = [
            f"slowest process seen: {_short(slow)} (95 %: {_short(low)} to {_short(high)}), "
            f"{self.transitions} transitions in {times}"
            if np.isfinite([slow, low, high]).all()
            else f"the slowest process is not resolved: {self.transitions} transitions in {times}"
        ]
        if self.transitions < _ENOUGH:
            more = f"some {_short(self.time * _ENOUGH / self.transitions)}" if self.transitions else "far more"
            found.append(
                f"too few transitions for populations: {self.transitions} where {_ENOUGH} leave them a relative error "
                f"of a fifth; {more} of MD would be enough, and what no run has seen the model cannot know"
            )
        lonely = [p for p, n in zip(self.populations, self.in_runs, strict=True) if n == 1 and p > _LEAST]
        if lonely and self.runs > 1:
            shares = ", ".join(percent(p) for p in lonely)
            found.append(f"{len(lonely)} state(s) were seen in one run only (populations {shares})")
        if self.markov_error > _MARKOV:
            found.append(
                f"not Markov at {_short(self.lag)}: staying probabilities are off by up to {self.markov_error:.2f} "
                "after a few steps; use longer lags"
            )
        return found


def say(config: TrainingConfig, source: Source) -> Seen | None:
    """Say what the model will be of (solute, data, lags, whether it has energies) and what the data can teach it."""
    topology, total = source.topology, sum(map(len, source.runs)) * source.interval
    around = f", without {source.left_out}" if source.left_out else ""
    several = f" in {count} molecules" if (count := len(molecules_of(topology))) > 1 else ""
    solute = f"solute of {topology.n_atoms} atoms and {topology.n_residues} residues{several}{around}"
    data = f"{len(source.runs)} runs, {format_time(total)}, at {config.temperature:g} K"
    logger.warning("%s; %s; lags of %s to %s", solute, data, *map(format_time, config.predictor.lag))
    if not config.has_energy:
        logger.warning(
            "no force field of the solute alone is known, so that the model will have no energies; where the"
            " trajectories are of implicit solvent or vacuum, give --system, or state `solvent` and, unless --top is a"
            " prmtop, `force_field` in the file for --config"
        )
    shown = seen(
        source.runs, source.topology, source.interval, lag=config.predictor.lag[0], temperature=config.temperature
    )
    for sentence in shown.sentences() if shown else ():
        logger.warning("%s", sentence)
    return shown


def seen(
    runs: Sequence[Floats], topology: Any, interval: float, *, lag: float, temperature: float, seed: int = 0
) -> Seen | None:
    """Look at runs of positions [frames, atoms, 3] in nm, `interval` ps apart; None where they are too short for a lag.

    Torsions (or distances) → TICA → k-means → Markov state model at `lag` ps, whose two most metastable sets give the
    transitions, counted from the median of one along TICA-0 to that of the other.
    """
    spec = feature_spec(topology)
    try:
        model = ReferenceModel(
            spec, [spec.values(run) for run in runs], interval, lag=lag, temperature=temperature, seed=seed
        )
    except EvaluationError:
        return None
    sides = msm.coarse_grain(model.counts, 2)  # -1 for states that are not connected
    tics = [tics[:, 0] for tics in model.tics]
    rng = np.random.default_rng(seed)
    times = msm.implied_timescales(model.paths, [model.lag], model.states, interval, rng, number=1)
    populations = model.macrostates(model.paths)
    visited = [set(np.unique(model.membership[path])) for path in model.paths]
    return Seen(
        time=interval * sum(map(len, runs)),
        runs=len(runs),
        lag=lag,
        timescale=(float(times.values[0, 0]), float(times.low[0, 0]), float(times.high[0, 0])),
        transitions=_transitions(tics, [sides[path] for path in model.paths]),
        markov_error=_markov_error(model, np.maximum(sides, 0)),
        populations=[float(p) for p in populations],
        in_runs=[sum(state in found for found in visited) for state in range(len(populations))],
    )


def _short(time: float) -> str:
    """A time in ps with three digits and a unit."""
    return format_time(float(f"{time:.3g}"))


def _markov_error(model: ReferenceModel, sides: Ints) -> float:
    """Largest error of the Chapman-Kolmogorov test of the sets that hold more than a hundredth of the frames."""
    test = msm.chapman_kolmogorov(model.paths, model.lag, sides)
    path = sides[np.concatenate(model.paths)]
    shares = np.bincount(path, minlength=test.predicted.shape[1]) / len(path)
    return float(np.nanmax(np.abs(test.predicted - test.estimated)[:, shares > _LEAST], initial=0.0))


def _transitions(tics: Sequence[Floats], sides: Sequence[Ints]) -> int:
    along, side = np.concatenate(tics), np.concatenate(sides)
    if not {0, 1} <= set(np.unique(side)):
        return 0
    first, second = (float(np.median(along[side == k])) for k in (0, 1))
    sign = 1.0 if second > first else -1.0
    cores = [core_path(sign * t <= sign * first, sign * t >= sign * second) for t in tics]
    return sum(int(np.count_nonzero((c[:-1] >= 0) & (c[1:] != c[:-1]))) for c in cores)
