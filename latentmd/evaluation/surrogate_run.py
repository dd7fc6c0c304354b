"""The stages of one evaluation of a surrogate: read, roll out, compare, measure its parts, compare with baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.analysis import features
from latentmd.analysis.features import EvaluationError, FeatureSet, FeatureSpec
from latentmd.analysis.metric import Comparison, Evaluation, Metric
from latentmd.analysis.reference import ReferenceModel, check_length
from latentmd.analysis.statistics import TORSION_PAIR_GRID
from latentmd.arrays import Floats
from latentmd.evaluation import latent_baselines, relaxation, rollouts
from latentmd.evaluation.baselines import chosen_baselines, frame_baselines
from latentmd.evaluation.compare import POSITIVE_PHI, compare, point_values
from latentmd.evaluation.document import document
from latentmd.evaluation.frames import structure_metrics
from latentmd.evaluation.inputs import in_order_of, trajectory_files
from latentmd.evaluation.settings import FRAME_BASELINES, MODEL_BASELINES, EvaluationSettings
from latentmd.evaluation.speed import TARGETS, AccuracyCurve, accuracy_curve
from latentmd.evaluation.trajectories import speed_metrics
from latentmd.io.progress import Progress, Tick
from latentmd.molecule.checks import StructureTemplate, structure_template
from latentmd.units import KILOCALORIE, thermal_energy

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator
    from latentmd.systems.builder import Molecule

_PROBE_FRAMES = 20_000  # frames encoded per set for probes, VAMP-2 and Koopman
_TRAINING_SECONDS = 20.0  # of the VAMPnet and of the TICA flow
_MD_TIMING = 1.0  # seconds of plain MD timed for the replicate baseline
_ENERGY_FRAMES = 10_000  # held-out frames whose energies give MD's range


@dataclass(frozen=True)
class Sizes:
    """Numbers of latent steps per walker, of independent walkers, and of seeds of all of them together."""

    steps: int
    walkers: int
    seeds: int


@dataclass(frozen=True)
class ModelData:
    """Held-out and training data of an evaluation, at the spacing of the rollouts.

    Attributes:
        md: reference, its runs one frame per latent step.
        dense: features of the reference at its own spacing; None where that is the latent step.
        template: of the structure checks.
        train, test: positions per run, (frames, atoms, 3) in nm, one frame per latent step.
        train_files: training trajectories, files or folders.
        step: ps per latent step.
        stride: frames of the reference per latent step.
    """

    md: FeatureSet
    dense: list[Floats] | None
    template: StructureTemplate
    train: list[Floats]
    test: list[Floats]
    train_files: Sequence[str | Path]
    step: float
    stride: int


class SurrogateRun:
    """One evaluation of a surrogate: what its stages share.

    Args:
        propagator: the surrogate.
        top: PDB file of its molecule.
        settings: of the evaluation.
        sizes: of the rollouts.
        progress: called with the name of each stage.

    Raises:
        EvaluationError: the file holds another molecule than the model covers.
    """

    def __init__(
        self, propagator: Propagator, top: Path, settings: EvaluationSettings, sizes: Sizes, progress: Progress
    ) -> None:
        self.top, self.sizes, self.progress = top, sizes, progress
        self.settings = settings
        self.topology, structure = features.load_topology(top)
        self.propagator = in_order_of(propagator, self.topology, structure[0], top)
        self.spec: FeatureSpec = features.feature_spec(self.topology)
        self.rng = np.random.Generator(np.random.Philox(settings.seed))

    def evaluate(
        self, reference: Sequence[str | Path], train: Sequence[str | Path], step: float | None
    ) -> tuple[Evaluation, ReferenceModel, Comparison, dict[str, AccuracyCurve]]:
        """Run all stages.

        Args:
            reference: held-out MD, files or folders.
            train: training trajectories of the model.
            step: ps per latent step; `default_step` where None.

        Returns:
            The evaluation; the model of the reference and the comparison with it, for figures; errors against time.
        """
        self.progress("reading the reference")
        data = self._read(reference, train, step)
        self.progress(f"rolling out {self.sizes.walkers} walkers")
        made = self._rollout(data, self.rng, f"rolling out {self.sizes.walkers} walkers")
        own = FeatureSet((Path(self.propagator.manifest.name),), made.runs, data.step, made.kept, made.totals)
        molecule, platform, speed = self._md_speed()
        settings = replace(
            self.settings, wall_time=made.seconds, md_speed=speed, temperature=self.propagator.temperature
        )
        self.progress("modelling the reference")
        fitted = ReferenceModel(
            self.spec,
            data.md.runs,
            data.step,
            lag=settings.lag,
            temperature=self.propagator.temperature,
            seed=settings.seed,
            dense=data.dense,
        )
        check_length("generated", own.runs, fitted.lag, data.step)
        self.progress("comparing")
        comparison = compare(fitted, own.runs, tick=self._tick("comparing"))
        metrics = comparison.metrics + structure_metrics(own, data.md, data.template)
        metrics += speed_metrics(comparison, settings)
        parts, latents = self._part_metrics(data, fitted)
        metrics += parts + self._energy_metrics(data, made, molecule, platform)
        metrics = self._with_seeds(metrics, data, fitted)
        rivals = self._baselines(data, fitted, own, settings, latents)
        result = Evaluation(metrics, rivals, own, data.md, self._notes(data, made, metrics))
        curves = self._accuracy(data, fitted, own, made.seconds, speed)
        result.document = document(result, fitted, settings, self.propagator.manifest.name)
        result.document |= self._additions(curves, speed)
        return result, fitted, comparison, curves

    def _read(self, reference: Sequence[str | Path], train: Sequence[str | Path], step: float | None) -> ModelData:
        from latentmd.io.trajectory import load_positions

        settings, files = self.settings, trajectory_files(reference)
        tick = self._tick("reading the reference")
        md = features.read_set(files, self.topology, self.spec, template=None, interval=settings.interval, tick=tick)
        template = structure_template(self.topology, md.kept)
        training, spacing = load_positions(trajectory_files(train), str(self.top), settings.interval, strict=False)
        test, _ = load_positions(files, str(self.top), settings.interval, strict=False)
        step = step or default_step(self.propagator.lag_range, settings.lag, md.interval)
        stride, train_stride = round(step / md.interval), round(step / spacing)
        dense = md.runs if stride > 1 else None
        md.runs, md.interval = [run[::stride] for run in md.runs], step
        return ModelData(
            md, dense, template, train=[x[::train_stride] for x in training], test=[x[::stride] for x in test],
            train_files=train, step=step, stride=stride,
        )  # fmt: skip

    def _rollout(self, data: ModelData, rng: np.random.Generator, stage: str) -> rollouts.Rollout:
        """Rollouts from random training frames."""
        walkers, steps = self.sizes.walkers, self.sizes.steps
        pool = np.concatenate([x[:: max(1, len(x) // walkers)] for x in data.train])
        starts = pool[rng.permutation(len(pool))[:walkers]]
        return rollouts.generate(
            self.propagator,
            starts,
            data.step,
            steps=steps,
            spec=self.spec,
            template=data.template,
            rng=rng,
            tick=self._tick(stage),
        )

    def _with_seeds(self, metrics: list[Metric], data: ModelData, fitted: ReferenceModel) -> list[Metric]:
        """The metrics of the first rollouts with the values of rollouts from further seeds."""
        values: dict[str, list[float]] = {}
        for k in range(1, self.sizes.seeds):
            rng = np.random.Generator(np.random.Philox(self.settings.seed + k))
            made = self._rollout(data, rng, f"rolling out, seed {k + 1} of {self.sizes.seeds}")
            found = point_values(fitted, made.runs)
            found["frames, all checks"] = made.totals.valid / made.totals.frames
            for name, value in found.items():
                values.setdefault(name, []).append(value)
        return [replace(m, seeds=(m.value, *values[m.name])) if m.name in values else m for m in metrics]

    def _tick(self, stage: str) -> Tick:
        return partial(self.progress, stage)

    def _md_speed(self) -> tuple[Molecule, str, float]:
        """The molecule, this machine's fastest platform, and its picoseconds of plain MD per second of wall time."""
        from latentmd.systems.platforms import fastest_platform, time_platform

        self.progress("timing plain MD")
        molecule = self._molecule()
        platform = fastest_platform(molecule)
        return molecule, platform, float(time_platform(molecule, platform, _MD_TIMING) * molecule.protocol.timestep)

    def _molecule(self) -> Molecule:
        from latentmd.systems.builder import InputOptions, Protocol, build
        from latentmd.systems.own_force_field import inputs_beside, is_own

        m = self.propagator.manifest
        solvent: Any = m.solvent
        protocol = Protocol(
            solvent=solvent, force_field=tuple(m.force_field), temperature=m.temperature, friction=m.friction,
            timestep=m.timestep, hydrogen_mass=m.hydrogen_mass or 3.0,
            inputs=inputs_beside(Path(self.top)) if is_own(m.force_field) else InputOptions(),
        )  # fmt: skip
        if is_own(m.force_field) and protocol.inputs.system is None:
            raise ValueError(
                f"{self.top}: the model was trained with the molecule's own force field; put the system.xml of the "
                "run that it was trained on beside this file"
            )
        return build(self.top, protocol)

    def _part_metrics(self, data: ModelData, fitted: ReferenceModel) -> tuple[list[Metric], list[Floats]]:
        """Metrics of encoder, decoder and latent, and the slow axes of the training runs."""
        self.progress("encoder and decoder")
        rows = rollouts.reconstruction_metrics(
            self.propagator, data.md.kept, self.spec, template=data.template, topology=self.topology, rng=self.rng
        )
        self.progress("representation")
        sets = []
        for runs in (data.train, data.test):
            share = max(2 * fitted.lag, _PROBE_FRAMES // len(runs))
            cut = [np.asarray(x[:share]) for x in runs]
            encoded = [rollouts.encode(self.propagator, x) for x in cut]
            sets.append(([e[0] for e in encoded], [e[1] for e in encoded], [self.spec.values(x) for x in cut]))
        rows += rollouts.probe_metrics(
            sets[0],
            sets[1],
            self.spec,
            lag=1,
            vampnet_seconds=_TRAINING_SECONDS,
            seed=self.settings.seed,
            tick=self._tick("representation"),
        )
        rows.append(rollouts.prediction_gain(self.propagator, sets[1][0], 1, data.step))
        return rows, sets[0][0]

    def _energy_metrics(
        self, data: ModelData, made: rollouts.Rollout, molecule: Molecule, platform: str
    ) -> list[Metric]:
        self.progress("energies")
        frames = np.concatenate(data.test)
        frames = frames[np.linspace(0, len(frames) - 1, min(len(frames), _ENERGY_FRAMES)).astype(int)]
        decoded = made.sampled[np.linspace(0, len(made.sampled) - 1, rollouts.DECODED_FRAMES).astype(int)]
        return relaxation.energy_metrics(
            self.propagator, molecule, platform, frames=frames, decoded=decoded, tick=self._tick("energies")
        )

    def _baselines(
        self,
        data: ModelData,
        fitted: ReferenceModel,
        own: FeatureSet,
        settings: EvaluationSettings,
        latents: list[Floats],
    ) -> dict[str, list[Metric]]:
        chosen = chosen_baselines(settings, self.spec, self.topology, own.kept[0], MODEL_BASELINES)
        self.progress("baselines of training frames")
        framed = replace(settings, baselines=tuple(b for b in chosen if b in FRAME_BASELINES))
        result = frame_baselines(fitted, own, data.train_files, self.topology, framed)
        if "tica-flow" in chosen:
            self.progress("baseline: flow on TICA coordinates")
            result["tica-flow"] = compare(fitted, self._tica_flow(data, fitted, own), brief=True).metrics
        if "koopman" in chosen:
            self.progress("baseline: Koopman rollouts")
            result["koopman"] = compare(fitted, self._koopman(data, latents), brief=True).metrics
        return result

    def _tica_flow(self, data: ModelData, fitted: ReferenceModel, own: FeatureSet) -> list[Floats]:
        values = [self.spec.values(x) for x in data.train]
        coordinates = [np.asarray(fitted.tica.transform(self.spec.coordinates(v))) for v in values]
        kept = [c[:, : int(self.propagator.manifest.slow_axes)] for c in coordinates]
        return latent_baselines.tica_flow(
            kept, values, 1, interval=own.interval, walkers=len(own.runs), steps=len(own.runs[0]),
            seconds=_TRAINING_SECONDS, seed=self.settings.seed,
            tick=self._tick("baseline: flow on TICA coordinates"),
        )  # fmt: skip

    def _koopman(self, data: ModelData, latents: list[Floats]) -> list[Floats]:
        import torch

        walkers, steps = self.sizes.walkers, self.sizes.steps
        path = latent_baselines.koopman(self.propagator, latents, 1, walkers=walkers, steps=steps, rng=self.rng)
        shape = (walkers, steps, -1, int(self.propagator.manifest.slow_axes))
        slow = torch.as_tensor(path.reshape(shape), dtype=self.propagator.dtype, device=self.propagator.device)
        return rollouts.decode_rollout(
            self.propagator, slow.transpose(0, 1), self.spec, data.template, self.rng,
            tick=self._tick("baseline: Koopman rollouts"),
        )[0]  # fmt: skip

    def _accuracy(
        self, data: ModelData, fitted: ReferenceModel, own: FeatureSet, seconds: float, md_speed: float
    ) -> dict[str, AccuracyCurve]:
        if not self.spec.pairs:
            return {}
        self.progress("time to accuracy")
        kt = thermal_energy(fitted.temperature) / KILOCALORIE
        sets = {
            "surrogate": (own.runs, seconds / sum(len(r) for r in own.runs)),
            "plain MD": ([self.spec.values(x) for x in data.train], own.interval / md_speed),
        }
        return {
            name: accuracy_curve(
                runs,
                self.spec.pairs[0],
                POSITIVE_PHI,
                reference=fitted.dense,
                grid=TORSION_PAIR_GRID,
                seconds_per_frame=cost,
                kt=kt,
            )
            for name, (runs, cost) in sets.items()
        }

    def _notes(self, data: ModelData, made: rollouts.Rollout, metrics: list[Metric]) -> list[str]:
        notes = [
            "this model covers one molecule: not transferable",
            f"{self.sizes.walkers} walkers, {data.step:g} ps per latent step; {made.seconds:.1f} s for latent steps "
            "and decoding",
            f"one training; {self.sizes.seeds} seed(s) of rollouts",
        ]
        if data.dense is not None:
            samples = next(m for m in metrics if m.name == "effective samples, TIC-0")
            notes.append(
                f"kinetics use every {data.stride}th frame of the reference, {data.step:g} ps apart; distributions "
                f"count all of its {sum(map(len, data.dense)):,} frames, worth {samples.reference:.0f} effective ones "
                "along TIC-0"
            )
        return notes

    def _additions(self, curves: dict[str, AccuracyCurve], speed: float) -> dict[str, Any]:
        """Entries of evaluation.json that only an evaluation of a model has."""
        return {
            "seeds": {"rollouts": [self.settings.seed + k for k in range(self.sizes.seeds)]},
            "model": {"name": self.propagator.manifest.name, "sha256": self.propagator.bundle.sha256},
            "accuracy": {
                "targets": TARGETS,
                "training_s": training_seconds(self.propagator),
                "md_ps_per_s": speed,
                "curves": {k: asdict(c) | {"time_to_target_s": c.time_to()} for k, c in curves.items()},
            },
        }


def training_seconds(propagator: Propagator) -> float:
    """Wall time of the training of a model in seconds, as its manifest says; zero where it does not."""
    seconds = propagator.manifest.training.get("seconds", {})
    return float(sum(seconds.values())) if isinstance(seconds, dict) else float(seconds)


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
