"""`latentmd evaluate --model`: a surrogate's own rollouts, encoder, decoder and energies against held-out MD."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.analysis import features
from latentmd.analysis.features import EvaluationError, FeatureSet, FeatureSpec
from latentmd.analysis.metric import Metric, ReferenceModel, check_length
from latentmd.analysis.statistics import TORSION_PAIR_GRID
from latentmd.analysis.thermodynamics import GAS_CONSTANT, KCAL
from latentmd.arrays import Floats
from latentmd.evaluation import accuracy, latent_baselines, relaxation
from latentmd.evaluation import compare as analysis
from latentmd.evaluation import rollouts as model
from latentmd.evaluation import trajectories as workflow
from latentmd.evaluation.compare import POSITIVE_PHI
from latentmd.evaluation.inputs import trajectory_files
from latentmd.evaluation.trajectories import DEFAULTS, FRAME_BASELINES, Evaluation, Settings
from latentmd.io.progress import Progress, Tick
from latentmd.molecule import checks as structure
from latentmd.report import tables as record

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

MODEL_BASELINES = ("tica-flow", "koopman")
_PROBE_FRAMES = 20_000  # frames encoded per set for probes, VAMP-2 and Koopman
_TRAINING_SECONDS = 20.0  # of the VAMPnet and of the TICA flow
_MD_TIMING = 1.0  # seconds of plain MD timed for the replicate baseline
_ENERGY_FRAMES = 10_000  # held-out frames whose energies give MD's range


def evaluate_model(
    name: str | Path,
    reference: Sequence[str | Path],
    train: Sequence[str | Path] = (),
    top: str | Path | None = None,
    *,
    out: str | Path | None = None,
    frames: int = 100_000,
    walkers: int = 64,
    step: float | None = None,
    seeds: int = 3,
    settings: Settings = DEFAULTS,
    overwrite: bool = False,
    progress: Progress = lambda stage, done=None, total=None: None,
) -> Evaluation:
    """Generate rollouts of a surrogate and evaluate them, its parts and the baselines against held-out MD.

    Args:
        name: bundle or bundled model.
        reference: held-out MD, files or folders.
        train: the model's training trajectories, for starts, probes and baselines.
        top: PDB file; the model's own by default.
        out: folder for evaluation.json and evaluation.html; nothing is written where None.
        frames: to generate, all walkers together.
        walkers: independent rollouts.
        step: ps per latent step and between frames; `default_step` where None.
        seeds: rollouts made, each from other starts and noise; the first is evaluated in full, the others say how far
            its metrics scatter.
        settings: as for `evaluate`; baselines may also name `MODEL_BASELINES`.
        overwrite: replace an earlier evaluation in `out`.
        progress: called with the name of each stage as it begins, and with what is done and the total where known.

    Raises:
        EvaluationError: anything wrong with the input, in one sentence.
    """
    folder = None if out is None else workflow.prepared_folder(Path(out), overwrite)
    if "all" in settings.baselines:
        settings = replace(settings, baselines=FRAME_BASELINES + MODEL_BASELINES)
    unknown = [b for b in settings.baselines if b not in FRAME_BASELINES + MODEL_BASELINES]
    if unknown:
        every = ", ".join(FRAME_BASELINES + MODEL_BASELINES)
        raise EvaluationError(f"no baseline is called {unknown[0]!r}; there are {every}")
    if not train:
        raise EvaluationError("a model is evaluated beside its training data; pass those trajectories with --train")
    from latentmd.model.propagator import Propagator

    progress("loading the model")
    propagator = Propagator(name)
    with tempfile.TemporaryDirectory() as temporary:
        if top is None:
            top = Path(temporary) / "topology.pdb"
            top.write_text(propagator.manifest.topology)
        run = _Run(propagator, Path(top), settings, progress)
        return run.evaluate(reference, train, (frames, walkers, seeds), step, folder)


def store_metrics(name: str | Path, result: Evaluation) -> Path:
    """Write an evaluation's metrics into a bundle's manifest, where `latentmd inspect` shows them.

    Args:
        name: bundle or bundled model that was evaluated; its file is replaced.
        result: of `evaluate_model`.

    Returns:
        The path of the bundle.
    """
    from latentmd.model import file as bundle

    loaded = bundle.load(name)
    kept = ("value", "unit", "low", "high", "reference", "floor")
    metrics = {m.name: {k: v for k, v in record.plain(m).items() if k in kept} for m in result.metrics}
    bundle.save(loaded.path, loaded.module, loaded.manifest.model_copy(update={"metrics": metrics}))
    return loaded.path


def default_step(lags: tuple[float, float], lag: float, interval: float) -> float:
    """Step of the rollouts: the part of the evaluation's lag that is nearest to twice the model's shortest lag.

    Args:
        lags: the model's range, ps.
        lag: of TICA and the MSM, ps.
        interval: of the reference frames, ps; the step is a multiple of it.

    Raises:
        EvaluationError: no step fits.
    """
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


class _Run:
    """One evaluation of a model: what its stages share."""

    def __init__(self, propagator: Propagator, top: Path, settings: Settings, progress: Progress) -> None:
        self.propagator, self.top, self.settings, self.progress = propagator, top, settings, progress
        self.topology, _ = features.load_topology(top)
        self.spec: FeatureSpec = features.feature_spec(self.topology)
        self.rng = np.random.Generator(np.random.Philox(settings.seed))
        if self.topology.n_atoms != propagator.n_atoms:
            raise EvaluationError(f"{top} holds {self.topology.n_atoms} atoms, the model covers {propagator.n_atoms}")

    def evaluate(
        self, reference: Sequence[str | Path], train: Sequence[str | Path], sizes: tuple[int, int, int],
        step: float | None, folder: Path | None,
    ) -> Evaluation:  # fmt: skip
        from latentmd.io.trajectory import load_positions

        settings, propagator = self.settings, self.propagator
        frames, walkers, seeds = sizes
        self.progress("reading the reference")
        files = trajectory_files(reference)
        md = features.read_set(
            files, self.topology, self.spec, None, settings.interval, self._tick("reading the reference")
        )
        template = structure.structure_template(self.topology, md.kept)
        self.train, spacing = load_positions(trajectory_files(train), str(self.top), settings.interval)
        test, _ = load_positions(files, str(self.top), settings.interval)
        step = step or default_step(propagator.lag_range, settings.lag, md.interval)
        self.stride, train_stride = round(step / md.interval), round(step / spacing)
        self.train = [x[::train_stride] for x in self.train]

        self.progress(f"rolling out {walkers} walkers")
        steps = max(2, frames // walkers)
        made = self._rollout(walkers, step, steps, template, self.rng, f"rolling out {walkers} walkers")
        own = FeatureSet((Path(str(propagator.manifest.name)),), made.runs, step, made.kept, made.totals)
        speed = self._md_speed()
        settings = replace(settings, wall_time=made.seconds, md_speed=speed, temperature=propagator.temperature)

        self.progress("modelling the reference")
        dense = md.runs if self.stride > 1 else None
        md.runs, md.interval = [run[:: self.stride] for run in md.runs], step
        fitted = ReferenceModel(self.spec, md.runs, step, settings.lag, propagator.temperature, settings.seed, dense)
        check_length("generated", own.runs, fitted.lag, step)
        self.progress("comparing")
        comparison = analysis.compare(fitted, own.runs, tick=self._tick("comparing"))
        metrics = comparison.metrics + workflow.structure_metrics(own, md, template)
        metrics += workflow.speed_metrics(comparison, settings)
        metrics += self._part_metrics([x[:: self.stride] for x in test], md, fitted, template, made, step)
        metrics = self._with_seeds(metrics, fitted, walkers, step, steps, template, seeds)
        rivals = self._baselines(fitted, own, train, settings, template)
        notes = [
            "this model covers one molecule: not transferable",
            f"{walkers} walkers, {step:g} ps per latent step; {made.seconds:.1f} s for latent steps and decoding",
            f"one training; {seeds} seed(s) of rollouts",
        ]
        if dense is not None:
            samples = next(m for m in metrics if m.name == "effective samples, TIC-0")
            notes.append(
                f"kinetics use every {self.stride}th frame of the reference, {step:g} ps apart; distributions count "
                f"all of its {sum(map(len, dense)):,} frames, worth {samples.reference:.0f} effective ones along TIC-0"
            )
        result = Evaluation(metrics, rivals, own, md, notes)
        result.document = workflow.document(result, fitted, settings, propagator.manifest.name)
        curves = self._accuracy(fitted, own, made.seconds, speed)
        result.document["seeds"] = {"rollouts": [settings.seed + k for k in range(seeds)]}
        extra = {"model": {"name": propagator.manifest.name, "sha256": propagator.bundle.sha256}, "accuracy": {
            "targets": accuracy.TARGETS, "training_s": self._training_seconds(), "md_ps_per_s": speed,
            "curves": {k: asdict(c) | {"time_to_target_s": c.time_to()} for k, c in curves.items()},
        }}  # fmt: skip
        result.document |= extra
        if folder is not None:
            self.progress("writing the page")
            from latentmd.evaluation.page import accuracy_section, write

            sections = [accuracy_section(curves, self._training_seconds())] if curves else []
            write(result, fitted, comparison, self.topology, folder, sections)
        return result

    def _rollout(
        self, walkers: int, step: float, steps: int, template: structure.StructureTemplate, rng: np.random.Generator,
        stage: str,
    ) -> model.Rollout:  # fmt: skip
        """Rollouts from random training frames."""
        pool = np.concatenate([x[:: max(1, len(x) // walkers)] for x in self.train])
        starts = pool[rng.permutation(len(pool))[:walkers]]
        return model.generate(self.propagator, starts, step, steps, self.spec, template, rng, self._tick(stage))

    def _with_seeds(
        self, metrics: list[Metric], fitted: ReferenceModel, walkers: int, step: float, steps: int,
        template: structure.StructureTemplate, seeds: int,
    ) -> list[Metric]:  # fmt: skip
        """The metrics of the first rollouts with the values of rollouts from further seeds."""
        values: dict[str, list[float]] = {}
        for k in range(1, seeds):
            rng = np.random.Generator(np.random.Philox(self.settings.seed + k))
            made = self._rollout(walkers, step, steps, template, rng, f"rolling out, seed {k + 1} of {seeds}")
            found = analysis.point_values(fitted, made.runs)
            found["frames, all checks"] = made.totals.valid / made.totals.frames
            for name, value in found.items():
                values.setdefault(name, []).append(value)
        return [replace(m, seeds=(m.value, *values[m.name])) if m.name in values else m for m in metrics]

    def _tick(self, stage: str) -> Tick:
        return partial(self.progress, stage)

    def _md_speed(self) -> float:
        """Picoseconds of plain MD per second of wall time on this machine's fastest platform."""
        from latentmd.systems.platforms import fastest_platform, time_platform

        self.progress("timing plain MD")
        self.molecule = self._molecule()
        self.platform = fastest_platform(self.molecule)
        return float(time_platform(self.molecule, self.platform, _MD_TIMING) * self.molecule.protocol.timestep)

    def _molecule(self) -> Any:
        from latentmd.systems.builder import Protocol, build

        m = self.propagator.manifest
        solvent: Any = m.solvent
        protocol = Protocol(
            solvent=solvent, force_field=tuple(m.force_field), temperature=m.temperature, friction=m.friction,
            timestep=m.timestep, hydrogen_mass=m.hydrogen_mass or 3.0,
        )  # fmt: skip
        return build(self.top, protocol)

    def _training_seconds(self) -> float:
        seconds = self.propagator.manifest.training.get("seconds", {})
        return float(sum(seconds.values())) if isinstance(seconds, dict) else float(seconds)

    def _part_metrics(
        self, test: list[Floats], md: FeatureSet, fitted: ReferenceModel, template: structure.StructureTemplate,
        made: model.Rollout, step: float,
    ) -> list[Metric]:  # fmt: skip
        self.progress("encoder and decoder")
        rows = model.reconstruction_metrics(self.propagator, md.kept, self.spec, template, self.topology, self.rng)
        self.progress("representation")
        sets = []
        for runs in (self.train, test):
            share = max(2 * fitted.lag, _PROBE_FRAMES // len(runs))
            cut = [np.asarray(x[:share]) for x in runs]
            encoded = [model.encode(self.propagator, x) for x in cut]
            sets.append(([e[0] for e in encoded], [e[1] for e in encoded], [self.spec.values(x) for x in cut]))
        self.latents = sets[0][0]
        rows += model.probe_metrics(
            sets[0], sets[1], self.spec, 1, _TRAINING_SECONDS, self.settings.seed, self._tick("representation")
        )
        rows.append(model.prediction_gain(self.propagator, sets[1][0], 1, step))
        self.progress("energies")
        frames = np.concatenate(test)
        frames = frames[np.linspace(0, len(frames) - 1, min(len(frames), _ENERGY_FRAMES)).astype(int)]
        decoded = made.sampled[np.linspace(0, len(made.sampled) - 1, model.DECODED_FRAMES).astype(int)]
        return rows + relaxation.energy_metrics(
            self.propagator, self.molecule, self.platform, frames, decoded, self._tick("energies")
        )

    def _baselines(
        self, fitted: ReferenceModel, own: FeatureSet, train: Sequence[str | Path], settings: Settings,
        template: structure.StructureTemplate,
    ) -> dict[str, list[Metric]]:  # fmt: skip
        chosen = settings.baselines
        self.progress("baselines of training frames")
        framed = replace(settings, baselines=tuple(b for b in chosen if b in FRAME_BASELINES))
        result = workflow.frame_baselines(fitted, own, train, self.topology, framed)
        walkers, steps = len(own.runs), len(own.runs[0])
        if "tica-flow" in chosen:
            self.progress("baseline: flow on TICA coordinates")
            values = [self.spec.values(x) for x in self.train]
            coordinates = [np.asarray(fitted.tica.transform(self.spec.coordinates(v))) for v in values]
            kept = [c[:, : int(self.propagator.manifest.slow_axes)] for c in coordinates]
            runs = latent_baselines.tica_flow(
                kept, values, 1, own.interval, walkers, steps, _TRAINING_SECONDS, settings.seed,
                self._tick("baseline: flow on TICA coordinates"),
            )  # fmt: skip
            result["tica-flow"] = analysis.compare(fitted, runs, brief=True).metrics
        if "koopman" in chosen:
            self.progress("baseline: Koopman rollouts")
            import torch

            path = latent_baselines.koopman(self.propagator, self.latents, 1, walkers, steps, self.rng)
            shape = (walkers, steps, -1, int(self.propagator.manifest.slow_axes))
            slow = torch.as_tensor(path.reshape(shape), dtype=self.propagator.dtype, device=self.propagator.device)
            runs = model.decode_rollout(
                self.propagator, slow.transpose(0, 1), self.spec, template, self.rng,
                tick=self._tick("baseline: Koopman rollouts"),
            )[0]  # fmt: skip
            result["koopman"] = analysis.compare(fitted, runs, brief=True).metrics
        return result

    def _accuracy(
        self, fitted: ReferenceModel, own: FeatureSet, seconds: float, md_speed: float
    ) -> dict[str, accuracy.AccuracyCurve]:
        if not self.spec.pairs:
            return {}
        self.progress("time to accuracy")
        kt = GAS_CONSTANT * fitted.temperature / KCAL
        sets = {
            "surrogate": (own.runs, seconds / sum(len(r) for r in own.runs)),
            "plain MD": ([self.spec.values(x) for x in self.train], own.interval / md_speed),
        }
        return {
            name: accuracy.accuracy_curve(
                runs, self.spec.pairs[0], POSITIVE_PHI, fitted.dense, TORSION_PAIR_GRID, cost, kt
            )
            for name, (runs, cost) in sets.items()
        }
