"""Simple baselines that a surrogate must beat: training frames in other orders, tables, and other latent models."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import mdtraj
import numpy as np

from latentmd.analysis.features import EvaluationError, FeatureSet, FeatureSpec
from latentmd.analysis.metric import Metric
from latentmd.analysis.reference import ReferenceModel, check_length
from latentmd.analysis.representation import lagged
from latentmd.arrays import Floats, Ints
from latentmd.evaluation.compare import compare
from latentmd.evaluation.inputs import FRAME_BASELINES, EvaluationSettings, check_baselines
from latentmd.evaluation.residue_table import BINS, ResidueTable
from latentmd.io.progress import Tick, silent
from latentmd.model.binding import bound_peptide
from latentmd.model.file import BundleError

TABLE = "residue-table"
_BATCH, _LEAST_BATCHES, _LEARNING_RATE, _WIDTH, _DEPTH, _SOLVER_STEPS = 1024, 200, 1e-3, 128, 3, 4


def table_histograms(spec: FeatureSpec, topology: mdtraj.Topology, positions: Floats) -> Floats:
    """Counts (torsions, bins) of a peptide's torsions in the bundled model's training set; the frame tells L from D."""
    try:
        bound, chain, file = bound_peptide(topology, positions)
    except (BundleError, KeyError) as error:
        raise EvaluationError(f"baseline {TABLE} is not for this molecule: {error}") from error
    table, sign = ResidueTable.of(file.statistics), float(bound.hand[2])
    places = {
        tuple(chain.quads[token, slot].tolist()): (int(token), int(slot))
        for token, slot in zip(*np.nonzero(chain.mask), strict=True)
    }
    found = []
    for name, quad in zip(spec.names, spec.indices.tolist(), strict=True):
        place = places.get(tuple(quad)) or places.get(tuple(quad[::-1]))
        if place is None:
            raise EvaluationError(f"baseline {TABLE} is not for this molecule: the table has no {name}")
        kind, position, mirrored = chain.types[place[0]]
        counts = table.torsions[kind, position, place[1]]
        found.append(counts[::-1] if (sign < 0) != bool(mirrored) else counts)
    return np.array(found)


def drawn_torsions(histograms: Floats, count: int, rng: np.random.Generator) -> list[Floats]:
    """One run (frames, torsions) in radians, each torsion drawn by itself from its counts (torsions, bins)."""
    columns = [rng.choice(BINS, count, p=row / row.sum()) for row in histograms]
    bins = np.stack(columns, axis=1) + rng.random((count, len(columns)))
    return [bins / BINS * 2 * np.pi - np.pi]


def chosen_baselines(
    settings: EvaluationSettings, spec: FeatureSpec, topology: mdtraj.Topology, frame: Floats, *others: str
) -> tuple[str, ...]:
    """Names of baselines, with "all" (and `others`) and "auto" replaced by those that there is enough known for."""
    if not {"all", "auto"} & {*settings.baselines}:
        return settings.baselines
    try:
        table_histograms(spec, topology, frame)
        table: tuple[str, ...] = (TABLE,)
    except EvaluationError:
        table = ()
    if "all" not in settings.baselines:
        return (*(name for name in settings.baselines if name not in ("auto", *table)), *table)
    left_out = (TABLE,) if settings.timed else (TABLE, "replicate")
    return (*(b for b in FRAME_BASELINES if b not in left_out), *table, *others)


def frame_baselines(
    model: ReferenceModel, own: FeatureSet, runs: list[Floats], topology: mdtraj.Topology, settings: EvaluationSettings
) -> dict[str, list[Metric]]:
    """Metrics by the name of each requested baseline of training `runs`, with as many walkers and frames as `own`."""
    check_baselines(settings, FRAME_BASELINES)
    rng = np.random.default_rng(settings.seed)
    lengths = [len(run) for run in own.runs]
    result = {}
    for name in sorted(settings.baselines, key=lambda name: name != TABLE):  # the order of the draws
        if name == TABLE:
            made = drawn_torsions(table_histograms(model.spec, topology, own.kept[0]), sum(lengths), rng)
        elif not runs:
            raise EvaluationError(f"baseline {name} needs training trajectories; pass them with --train")
        elif name == "shuffled":
            made = shuffled_frames(runs, own.frames, rng)
        elif name == "persistence":
            made = persistence(runs, lengths, rng)
        elif name == "msm":
            made = msm_resampling(runs, [model.discretise(t) for t in model.project(runs)], model.lag, lengths, rng)
        elif settings.wall_time is None or settings.md_speed is None:
            raise EvaluationError(
                "baseline replicate needs --wall-time and --md-speed: how much MD the same time pays for"
            )
        else:
            made = replicate_md(runs, settings.wall_time * settings.md_speed, model.interval)
        result[name] = compare(model, made, brief=True).metrics
    return result


def training_runs(data: FeatureSet, model: ReferenceModel) -> list[Floats]:
    """Features of training data at the spacing of a model; EvaluationError where they have no such frames."""
    stride = round(model.interval / data.interval)
    if stride < 1 or abs(stride * data.interval - model.interval) > 1e-3 * model.interval:
        raise EvaluationError(
            f"training frames are {data.interval:g} ps apart; expected {model.interval:g} ps or a whole part of it"
        )
    runs = [run[::stride] for run in data.runs]
    check_length("training", runs, model.lag, model.interval)
    return runs


def shuffled_frames(runs: Sequence[Floats], frames: int, rng: np.random.Generator) -> list[Floats]:
    """Training frames in random order, with replacement: their equilibrium, and no kinetics."""
    everything = np.concatenate(list(runs))
    return [everything[rng.integers(0, len(everything), frames)]]


def persistence(runs: Sequence[Floats], lengths: Sequence[int], rng: np.random.Generator) -> list[Floats]:
    """Each walker stays at one random training frame: "nothing moves"."""
    everything = np.concatenate(list(runs))
    starts = everything[rng.integers(0, len(everything), len(lengths))]
    return [np.repeat(start[None], length, axis=0) for start, length in zip(starts, lengths, strict=True)]


def msm_resampling(
    runs: Sequence[Floats], paths: Sequence[Ints], lag: int, lengths: Sequence[int], rng: np.random.Generator
) -> list[Floats]:
    """Trajectories of a Markov state model of the training data: each step follows, for one lag in frames, a training
    run from a random training frame of the current state, which draws from the maximum-likelihood transition matrix.
    """
    usable = [(r, p) for r, p in zip(runs, paths, strict=True) if len(p) > lag]
    offsets = np.cumsum([0, *[len(p) for _, p in usable]])
    frames = np.concatenate([r for r, _ in usable])
    states = np.concatenate([p for _, p in usable])
    starts = np.concatenate([np.arange(a, b - lag) for a, b in itertools.pairwise(offsets)])
    order = starts[np.argsort(states[starts], kind="stable")]
    bounds = np.searchsorted(states[order], np.arange(states.max() + 2))
    results = []
    for length in lengths:
        segments: list[Ints] = []
        state = int(states[rng.choice(starts)])
        for _ in range(-(-length // lag)):
            low, high = bounds[state], bounds[state + 1]
            # A state only seen within a lag of a run's end leads nowhere; the chain starts again from equilibrium.
            begin = int(order[rng.integers(low, high)]) if high > low else int(rng.choice(starts))
            segments.append(np.arange(begin, begin + lag))
            state = int(states[begin + lag])
        results.append(frames[np.concatenate(segments)[:length]])
    return results


def replicate_md(runs: Sequence[Floats], simulated: float, interval: float) -> list[Floats]:
    """The first frames of independent MD that the surrogate's wall time would have paid for, `simulated` ps of them."""
    left = max(1, round(simulated / interval))
    starts = itertools.accumulate(map(len, runs), initial=0)
    return [run[: left - start] for run, start in zip(runs, starts, strict=False) if start < left]


def koopman_rollout(runs: Sequence[Floats], starts: Floats, steps: int) -> Floats:
    """Mean rollout (walkers, steps, axes) of the least-squares z(t + 1) = z(t) K of runs (frames, axes) of latents."""
    matrix = np.linalg.lstsq(*lagged(runs, 1), rcond=None)[0]
    path = itertools.accumulate(range(steps), lambda z, _: z @ matrix, initial=np.asarray(starts, dtype=np.float64))
    return np.stack(list(path)[1:], axis=1)


class TicaFlow:
    """The surrogate's stochastic predictor on TICA coordinates (frames, axes) of the training runs, `step` ps apart."""

    def __init__(self, coordinates: Sequence[Floats], step: float, seed: int) -> None:
        import torch

        from latentmd.core.steps.flow import FlowPredictor

        everything = np.concatenate(list(coordinates))
        mean, scale = everything.mean(axis=0), np.maximum(everything.std(axis=0), 1e-12)
        self.bank, self.step = (everything - mean) / scale, step
        scaled = [(c - mean) / scale for c in coordinates if len(c) > 1]
        self.x, self.y = (
            torch.tensor(np.concatenate(parts), dtype=torch.float32).unsqueeze(1)
            for parts in ([c[:-1] for c in scaled], [c[1:] for c in scaled])
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.flow = FlowPredictor(
                self.x.shape[-1], (0.5 * step, 2 * step), _WIDTH, depth=_DEPTH, tokens=1, solver_steps=_SOLVER_STEPS
            )
        self.generator = torch.Generator().manual_seed(seed)

    def fit(self, seconds: float, tick: Tick = silent) -> None:
        """Train on pairs one step apart for a wall time, at least 200 batches."""
        import torch

        optimiser = torch.optim.Adam(self.flow.parameters(), _LEARNING_RATE)
        start, batches, x, generator = time.perf_counter(), 0, self.x, self.generator
        while (done := min(batches / _LEAST_BATCHES, (time.perf_counter() - start) / max(seconds, 1e-9))) < 1:
            tick(done, 1.0)
            optimiser.param_groups[0]["lr"] = _LEARNING_RATE * (1 - 0.98 * done)
            pick = torch.randint(len(x), (min(_BATCH, len(x)),), generator=generator)
            noise = torch.randn(x[pick].shape, generator=generator)
            lags = torch.full((len(pick),), self.step)
            losses = self.flow.loss(x[pick], lags, self.y[pick], noise, torch.rand(len(pick), generator=generator))
            optimiser.zero_grad()
            torch.stack(losses).sum().backward()
            optimiser.step()
            batches += 1

    def rollout(self, features: Sequence[Floats], walkers: int, steps: int) -> list[Floats]:
        """Features per walker, (steps, features), one step apart; each point is shown as the nearest training frame."""
        import torch
        from scipy.spatial import cKDTree

        z = self.x[torch.randint(len(self.x), (walkers,), generator=self.generator)]
        lags, path = torch.full((walkers,), self.step), []
        with torch.no_grad():
            for _ in range(steps):
                z = self.flow.step(z, lags, torch.randn(walkers, self.flow.noise_size, generator=self.generator))
                path.append(z[:, 0].numpy())
        found = cKDTree(self.bank).query(np.concatenate(path))[1]
        shown = np.concatenate(list(features))[found].reshape(steps, walkers, -1)
        return list(np.moveaxis(shown, 1, 0))
