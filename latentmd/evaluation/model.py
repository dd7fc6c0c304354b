"""`latentmd evaluate --model`: a surrogate's own rollouts, encoder, decoder and energies against held-out MD."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from latentmd.analysis import features
from latentmd.analysis.features import EvaluationError, FeatureSet
from latentmd.analysis.metric import Document, Evaluation, Metric
from latentmd.analysis.reference import ReferenceModel
from latentmd.analysis.statistics import TORSION_PAIR_GRID, evenly, js_distance
from latentmd.analysis.thermodynamics import two_state_free_energy
from latentmd.arrays import Floats
from latentmd.evaluation import baselines, frames, inputs, latents, rollouts
from latentmd.evaluation.compare import POSITIVE_PHI, compare, point_values
from latentmd.evaluation.evaluate import compared, document, write
from latentmd.evaluation.inputs import DEFAULTS, FRAME_BASELINES, MODEL_BASELINES, EvaluationSettings, Paths
from latentmd.io.folder import results_folder
from latentmd.io.progress import Progress, Tick, quiet, stage
from latentmd.io.trajectory import load_positions
from latentmd.model import file as bundle
from latentmd.model.propagator import Propagator
from latentmd.molecule.checks import structure_template
from latentmd.report import figures
from latentmd.report.page import Section, plain
from latentmd.systems.builder import InputOptions, Molecule, Protocol, build
from latentmd.systems.molecule import fastest_platform, time_platform
from latentmd.systems.own_force_field import inputs_beside, is_own

_POINTS = 24  # prefixes of a set, spaced evenly in the logarithm of their length
TARGETS = {"js": 0.1, "free_energy": 0.3}  # JS distance over (phi, psi); kcal/mol for the population of phi > 0
_PROBE_FRAMES = 20_000  # frames encoded per set for probes, VAMP-2 and Koopman
_TRAINING_SECONDS = 20.0  # of the VAMPnet and of the TICA flow
_MD_TIMING = 1.0  # seconds of plain MD timed for the replicate baseline
_ENERGY_FRAMES = 10_000  # held-out frames whose energies give MD's range


def evaluate_model(
    name: str | Path, reference: Paths, train: Paths = (), top: str | Path | None = None, *,
    out: str | Path | None = None, settings: EvaluationSettings = DEFAULTS, overwrite: bool = False,
    progress: Progress = quiet,
) -> Evaluation:  # fmt: skip
    """Evaluate rollouts of a surrogate, its parts and baselines against held-out MD; `top` is the model's if None."""
    folder = None if out is None else results_folder(Path(out), overwrite, "evaluation.json")
    inputs.check_baselines(settings, FRAME_BASELINES + MODEL_BASELINES)
    if not train:
        raise EvaluationError("a model is evaluated beside its training data; pass those trajectories with --train")
    progress("loading the model")
    propagator = Propagator(name)
    with tempfile.TemporaryDirectory() as temporary:
        if top is None:
            top = Path(temporary) / "topology.pdb"
            top.write_text(propagator.manifest.topology)
        return _ModelEvaluation(propagator, Path(top), settings, progress)(reference, train, folder)


def store_metrics(name: str | Path, result: Evaluation) -> Path:
    """Write an evaluation's metrics into a bundle's manifest, where `latentmd inspect` shows them; returns its path."""
    loaded = bundle.load(name)
    kept = ("value", "unit", "low", "high", "reference", "floor")
    metrics = {m.name: {k: v for k, v in plain(m).items() if k in kept} for m in result.metrics}
    bundle.save(loaded.path, loaded.module, loaded.manifest.model_copy(update={"metrics": metrics}))
    return loaded.path


class _ModelEvaluation:
    """An evaluation of a surrogate; `dense` are the features `md` before they were thinned to the rollouts' spacing."""

    def __init__(self, propagator: Propagator, top: Path, settings: EvaluationSettings, progress: Progress) -> None:
        self.top, self.progress = top, progress
        self.topology, structure = features.load_topology(top)
        self.propagator = inputs.in_order_of(propagator, self.topology, structure[0], top)
        self.settings = replace(settings, temperature=self.propagator.temperature)
        self.spec = features.feature_spec(self.topology)
        self.rng = np.random.Generator(np.random.Philox(settings.seed))
        self.steps = max(2, settings.frames // settings.walkers)

    def __call__(self, reference: Paths, train: Paths, folder: Path | None) -> Evaluation:
        """Read, roll out, compare, measure the parts, compare with baselines, write."""
        self._read(reference, train)
        made = self._rollout(self.rng, stage(self.progress, f"rolling out {self.settings.walkers} walkers"))
        own, s = made.frames, self._timed(made.seconds)
        self.progress("modelling the reference")
        kelvin = self.propagator.temperature
        fitted = ReferenceModel(self.spec, self.md.runs, self.step, s.lag, kelvin, seed=s.seed, dense=self.dense)
        self.fitted = fitted
        comparison = compared(fitted, own, self.md, self.template, settings=s, progress=self.progress)
        parts, slow = self._part_metrics()
        metrics = self._with_seeds(comparison.metrics + parts + self._energy_metrics(made))
        rivals = self._baselines(own, train, slow)
        result = Evaluation(metrics, rivals, own, self.md, self._notes(made.seconds, metrics))
        curves = self._accuracy(own)
        result.document = document(result, fitted, s, self.propagator.manifest.name) | self._additions(curves)
        if folder is not None:
            self.progress("writing the page")
            sections = [accuracy_section(curves, _training_seconds(self.propagator))] if curves else []
            write(result, fitted, comparison.curves, self.topology, folder, extra=sections)
        return result

    def _read(self, reference: Paths, train: Paths) -> None:
        s, files = self.settings, inputs.trajectory_files(reference)
        tick = stage(self.progress, "reading the reference")
        md = self.md = features.read_set(files, self.topology, self.spec, None, s.interval, tick=tick)
        self.template = structure_template(self.topology, md.kept)
        training, spacing = load_positions(inputs.trajectory_files(train), str(self.top), s.interval, strict=False)
        test, _ = load_positions(files, str(self.top), s.interval, strict=False)
        self.step = s.step or default_step(self.propagator.lag_range, s.lag, md.interval)
        self.stride, train_stride = round(self.step / md.interval), round(self.step / spacing)
        self.train, self.test = [x[::train_stride] for x in training], [x[:: self.stride] for x in test]
        self.dense = md.runs if self.stride > 1 else None
        md.runs, md.interval = [run[:: self.stride] for run in md.runs], self.step

    def _rollout(self, rng: np.random.Generator, tick: Tick) -> rollouts.Rollout:
        """Rollouts from random training frames."""
        walkers = self.settings.walkers
        pool = np.concatenate([x[:: max(1, len(x) // walkers)] for x in self.train])
        return self._decoding(rng, tick).generate(pool[rng.permutation(len(pool))[:walkers]], self.step, self.steps)

    def _decoding(self, rng: np.random.Generator, tick: Tick) -> rollouts.Decoding:
        return rollouts.Decoding(self.propagator, self.spec, self.template, rng, tick)

    def _with_seeds(self, metrics: list[Metric]) -> list[Metric]:
        """The metrics of the first rollouts with the values of rollouts from further seeds."""
        values: dict[str, list[float]] = {}
        for k in range(1, self.settings.seeds):
            rng = np.random.Generator(np.random.Philox(self.settings.seed + k))
            own = self._rollout(rng, stage(self.progress, f"rolling out, seed {k + 1} of {self.settings.seeds}")).frames
            found = point_values(self.fitted, own.runs) | {"frames, all checks": own.totals.valid / own.totals.frames}
            for name, value in found.items():
                values.setdefault(name, []).append(value)
        return [replace(m, seeds=(m.value, *values[m.name])) if m.name in values else m for m in metrics]

    def _timed(self, wall_time: float) -> EvaluationSettings:
        """The settings with the wall time of the rollouts and this machine's fastest speed of plain MD."""
        self.progress("timing plain MD")
        self.molecule = self._molecule()
        self.platform = fastest_platform(self.molecule)
        speed = float(time_platform(self.molecule, self.platform, _MD_TIMING) * self.molecule.protocol.timestep)
        self.settings = replace(self.settings, wall_time=wall_time, md_speed=speed)
        return self.settings

    def _molecule(self) -> Molecule:
        m = self.propagator.manifest
        own = is_own(m.force_field)
        inputs = inputs_beside(self.top) if own else InputOptions()
        if own and inputs.system is None:
            raise ValueError(
                f"{self.top}: the model was trained with the molecule's own force field; put the system.xml of the "
                "run that it was trained on beside this file"
            )
        return build(self.top, Protocol.of(m, inputs))

    def _part_metrics(self) -> tuple[list[Metric], list[Floats]]:
        """Metrics of encoder, decoder and latent, and the slow axes of the training runs."""
        tick = stage(self.progress, "encoder and decoder")
        rows = frames.reconstruction_metrics(self._decoding(self.rng, tick), self.md.kept, self.topology)
        tick, sets = stage(self.progress, "representation"), []
        for runs in (self.train, self.test):
            share = max(2 * self.fitted.lag, _PROBE_FRAMES // len(runs))
            sets.append(latents.encoded(self.propagator, self.spec, [np.asarray(x[:share]) for x in runs]))
        nets = latents.VampNets(_TRAINING_SECONDS, self.settings.seed, tick=tick)
        rows += latents.probe_metrics(sets[0], sets[1], self.spec, lag=1, nets=nets)
        rows.append(latents.prediction_gain(self.propagator, sets[1].slow, self.step))
        return rows, sets[0].slow

    def _energy_metrics(self, made: rollouts.Rollout) -> list[Metric]:
        tick, molecule = stage(self.progress, "energies"), self.molecule
        held_out = np.concatenate(self.test)
        held_out = held_out[evenly(len(held_out), _ENERGY_FRAMES)]
        decoded = made.sampled[np.linspace(0, len(made.sampled) - 1, rollouts.DECODED_FRAMES).astype(int)]
        context = molecule.context(molecule.langevin(1), self.platform)
        return frames.engine_metrics(self.propagator, context, molecule.protocol, held_out, decoded, tick=tick)

    def _baselines(self, own: FeatureSet, train: Paths, slow: list[Floats]) -> dict[str, list[Metric]]:
        s, fitted = self.settings, self.fitted
        chosen = baselines.chosen_baselines(s, self.spec, self.topology, own.kept[0], *MODEL_BASELINES)
        self.progress("baselines of training frames")
        framed = replace(s, baselines=tuple(b for b in chosen if b in FRAME_BASELINES))
        data = features.read_set(inputs.trajectory_files(train), self.topology, self.spec, None, s.interval)
        result = baselines.frame_baselines(fitted, own, baselines.training_runs(data, fitted), self.topology, framed)
        for name, label, make in (
            ("tica-flow", "flow on TICA coordinates", self._tica_flow),
            ("koopman", "Koopman rollouts", partial(self._koopman, slow)),
        ):
            if name in chosen:
                result[name] = compare(fitted, make(stage(self.progress, f"baseline: {label}")), brief=True).metrics
        return result

    def _tica_flow(self, tick: Tick) -> list[Floats]:
        values = [self.spec.values(x) for x in self.train]
        coordinates = [np.asarray(self.fitted.tica.transform(self.spec.coordinates(v))) for v in values]
        kept = [c[:, : int(self.propagator.manifest.slow_axes)] for c in coordinates]
        flow = baselines.TicaFlow(kept, self.step, self.settings.seed)
        flow.fit(_TRAINING_SECONDS, tick)
        return flow.rollout(values, self.settings.walkers, self.steps)

    def _koopman(self, slow: list[Floats], tick: Tick) -> list[Floats]:
        walkers, pool = self.settings.walkers, np.concatenate(slow)
        axes = baselines.koopman_rollout(slow, pool[self.rng.integers(0, len(pool), walkers)], self.steps)
        shape = (walkers, self.steps, -1, int(self.propagator.manifest.slow_axes))
        path = torch.as_tensor(axes.reshape(shape), dtype=self.propagator.dtype, device=self.propagator.device)
        return self._decoding(self.rng, tick).decode(path.transpose(0, 1), self.step)[0].runs

    def _accuracy(self, own: FeatureSet) -> dict[str, AccuracyCurve]:
        if not self.spec.pairs:
            return {}
        self.progress("time to accuracy")
        s = self.settings
        assert s.wall_time is not None and s.md_speed is not None
        training = [self.spec.values(x) for x in self.train]
        costs = {"surrogate": (own.runs, s.wall_time / own.frames), "plain MD": (training, self.step / s.md_speed)}
        return {
            name: accuracy_curve(runs, self.spec.pairs[0], self.fitted.dense, cost, self.fitted.temperature)
            for name, (runs, cost) in costs.items()
        }

    def _notes(self, seconds: float, metrics: list[Metric]) -> list[str]:
        notes = [
            "this model covers one molecule: not transferable",
            f"{self.settings.walkers} walkers, {self.step:g} ps per latent step; {seconds:.1f} s for latent steps "
            "and decoding",
            f"one training; {self.settings.seeds} seed(s) of rollouts",
        ]
        if self.dense is not None:
            samples = next(m for m in metrics if m.name == "effective samples, TIC-0")
            notes.append(
                f"kinetics use every {self.stride}th frame of the reference, {self.step:g} ps apart; distributions "
                f"count all of its {sum(map(len, self.dense)):,} frames, worth {samples.reference:.0f} effective ones "
                "along TIC-0"
            )
        return notes

    def _additions(self, curves: dict[str, AccuracyCurve]) -> Document:
        """Entries of evaluation.json that only an evaluation of a model has."""
        return {
            "seeds": {"rollouts": [self.settings.seed + k for k in range(self.settings.seeds)]},
            "model": {"name": self.propagator.manifest.name, "sha256": self.propagator.bundle.sha256},
            "accuracy": {
                "targets": TARGETS,
                "training_s": _training_seconds(self.propagator),
                "md_ps_per_s": self.settings.md_speed,
                "curves": {k: asdict(c) | {"time_to_target_s": c.time_to()} for k, c in curves.items()},
            },
        }


def _training_seconds(propagator: Propagator) -> float:
    """Wall time of a model's training in seconds, as its manifest says; zero where it does not."""
    seconds = propagator.manifest.training.get("seconds", {})
    return float(sum(seconds.values())) if isinstance(seconds, dict) else float(seconds)


def default_step(lags: tuple[float, float], lag: float, interval: float) -> float:
    """Step of rollouts in ps: a multiple of the interval, part of the lag, nearest to twice the model's shortest."""
    parts = [lag / n for n in range(1, 1 + int(lag / lags[0] + 1e-6))]
    fitting = [
        p for p in parts if lags[0] - 1e-6 <= p <= lags[1] + 1e-6 and abs(p / interval - round(p / interval)) < 1e-6
    ]
    if not fitting:
        raise EvaluationError(
            f"no step of {lags[0]:g} to {lags[1]:g} ps, the model's range, divides a lag of {lag:g} ps into "
            f"multiples of {interval:g} ps; pass another --lag"
        )
    return min(fitting, key=lambda p: abs(np.log(p / (2 * lags[0]))))


@dataclass(frozen=True)
class AccuracyCurve:
    """Errors of growing prefixes of a set, each (prefixes,), against seconds of wall time; kcal/mol of the basin."""

    seconds: Floats
    js: Floats
    free_energy: Floats

    def time_to(self, js: float = TARGETS["js"], free_energy: float = TARGETS["free_energy"]) -> float:
        """Wall time from which both errors stay within their targets; infinity where they never do."""
        bad = np.flatnonzero(~((self.js <= js) & (self.free_energy <= free_energy)))
        start = bad[-1] + 1 if len(bad) else 0
        return float(self.seconds[start]) if start < len(self.seconds) else float("inf")


def accuracy_curve(
    runs: Sequence[Floats], pair: tuple[int, int], reference: Sequence[Floats], frame_seconds: float, kelvin: float
) -> AccuracyCurve:
    """Errors of torsions (frames, torsions) per run, phi and psi in columns `pair`, against wall time as runs grow."""
    longest = max(map(len, runs))
    lengths = np.unique(np.geomspace(max(longest // 1000, 1), longest, _POINTS).astype(int))
    target = np.ravel(sum(TORSION_PAIR_GRID.counts(run[:, list(pair)]) for run in reference))
    wanted = _free_energy([run[:, pair[0]] for run in reference], kelvin)
    indices = [TORSION_PAIR_GRID.indices(run[:, list(pair)]) for run in runs]
    rows = []
    for length in lengths:
        prefix = np.concatenate([i[:length] for i in indices])
        own = _free_energy([run[:length, pair[0]] for run in runs], kelvin)
        error = abs(own - wanted) if np.isfinite(own) else np.inf
        js = js_distance(np.bincount(prefix, minlength=TORSION_PAIR_GRID.size), target)
        rows.append((len(prefix) * frame_seconds, js, error))
    return AccuracyCurve(*np.array(rows).T)


def _free_energy(runs: Sequence[Floats], temperature: float) -> float:
    phi = np.concatenate(runs)
    return two_state_free_energy(float(np.mean((phi > POSITIVE_PHI[0]) & (phi < POSITIVE_PHI[1]))), temperature)


def accuracy_section(curves: dict[str, AccuracyCurve], training: float) -> Section:
    """Errors against wall time of the surrogate and of plain MD; `training` in seconds shifts a second curve."""
    made, axes = figures.figure(1, 2, width=4.2, height=3.0)
    labels = (("(phi, psi) JS distance", "js"), ("error of phi > 0 free energy (kcal/mol)", "free_energy"))
    for axis, (label, key) in zip(axes, labels, strict=True):  # the scales first, since a curve may have no point
        axis.set(xscale="log", yscale="log", xlabel="seconds of wall time, all walkers", ylabel=label)
        axis.axhline(TARGETS[key], color="0.8", lw=0.8, zorder=0)
    colours = {"surrogate": figures.GENERATED, "plain MD": figures.REFERENCE}
    for name, curve in curves.items():
        for axis, values in zip(axes, (curve.js, curve.free_energy), strict=True):
            shown = np.where(np.isfinite(values), values, np.nan)
            axis.plot(curve.seconds, shown, "-", color=colours[name], lw=1.3, label=name)
            if name == "surrogate" and training > 0:
                axis.plot(curve.seconds + training, shown, "--", color=colours[name], lw=1, label="with its training")
    axes[0].legend(frameon=False, fontsize=8)
    reached = {name: curve.time_to() for name, curve in curves.items()}
    times = [f"{name} {t:.3g} s" if np.isfinite(t) else f"{name} never" for name, t in reached.items()]
    caption = f"Both errors stay within their targets (grey) from: {', '.join(times)}"
    text = f"Training took {training:.0f} s beside the MD that it learned from." if training else ""
    return Section("Time to accuracy", text, figures=[(figures.png(made), caption)])
