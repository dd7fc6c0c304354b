"""`latentmd evaluate --model`: a surrogate's own rollouts, encoder, decoder and energies against held-out MD."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from latentmd.analysis.features import EvaluationError
from latentmd.analysis.metric import Evaluation
from latentmd.evaluation.page import accuracy_section, write
from latentmd.evaluation.settings import DEFAULTS, FRAME_BASELINES, MODEL_BASELINES, EvaluationSettings
from latentmd.evaluation.surrogate_run import Sizes, SurrogateRun, training_seconds
from latentmd.io.folder import results_folder
from latentmd.io.progress import Progress
from latentmd.report import record


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
    settings: EvaluationSettings = DEFAULTS,
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
    folder = None if out is None else results_folder(Path(out), overwrite, "evaluation.json")
    unknown = [b for b in settings.baselines if b not in ("all", "auto", *FRAME_BASELINES, *MODEL_BASELINES)]
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
        sizes = Sizes(max(2, frames // walkers), walkers, seeds)
        run = SurrogateRun(propagator, Path(top), settings, sizes, progress)
        result, fitted, comparison, curves = run.evaluate(reference, train, step)
        if folder is not None:
            progress("writing the page")
            sections = [accuracy_section(curves, training_seconds(propagator))] if curves else []
            write(result, fitted, comparison, topology=run.topology, folder=folder, extra=sections)
    return result


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
