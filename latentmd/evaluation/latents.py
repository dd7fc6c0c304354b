"""`latentmd latents`: the structure of a model's latent on a trajectory, as figures and numbers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.analysis import features, representation
from latentmd.analysis.features import EvaluationError, FeatureSpec
from latentmd.analysis.metric import Metric
from latentmd.arrays import Floats
from latentmd.evaluation import rollouts as model
from latentmd.evaluation.inputs import in_order_of, trajectory_files
from latentmd.io.folder import results_folder
from latentmd.io.progress import Progress, Tick
from latentmd.report import figures, markup, record
from latentmd.report import page as report

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

#: Slow axes, fast axes and features of some runs, each one array per run.
Encoded = tuple[list[Floats], list[Floats], list[Floats]]
_SCATTER = 5000  # points drawn per panel; UMAP is fitted on them


def latents(
    trajectories: Sequence[str | Path],
    top: str | Path,
    name: str | Path,
    *,
    out: str | Path | None = None,
    lag: float | None = None,
    interval: float | None = None,
    frames: int = 40_000,
    seconds: float = 20.0,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = lambda stage, done=None, total=None: None,
) -> dict[str, Any]:
    """Encode trajectories and describe the latent: rank, probes, VAMP-2 beside rivals, PCA and UMAP.

    The first half of the runs (of the one run's frames) fits the probes and rivals, the second half scores them.

    Args:
        trajectories: files or folders, independent runs.
        top: PDB file of the molecule.
        name: bundle or bundled model.
        out: folder for latents.json and latents.html; nothing is written where None.
        lag: ps, of VAMP-2; the model's shortest step where None.
        interval: ps between frames, for files without times.
        frames: most frames encoded, all runs together; runs are thinned as far as the lag allows, then cut.
        seconds: training time of the VAMPnet.
        seed: of the VAMPnet and of UMAP.
        overwrite: replace an earlier result in `out`.
        progress: called with the name of each stage as it begins, and with what is done and the total where known.

    Returns:
        The document written to latents.json.

    Raises:
        EvaluationError: anything wrong with the input, in one sentence.
    """
    folder = None if out is None else results_folder(Path(out), overwrite, "latents.json")
    from latentmd.io.trajectory import load_positions
    from latentmd.model.propagator import Propagator

    progress("loading the model")
    propagator = Propagator(name)
    topology, structure = features.load_topology(Path(top))
    spec = features.feature_spec(topology)
    propagator = in_order_of(propagator, topology, structure[0], top)
    progress("reading")
    files = trajectory_files(trajectories)
    runs, spacing = load_positions(files, str(top), interval)
    stride, lag_frames = _strides(sum(map(len, runs)), frames, spacing, lag or propagator.lag_range[0])
    share = max(1, frames // len(runs))
    halves = _halves([np.asarray(run[::stride][:share]) for run in runs], lag_frames)
    progress("encoding")
    sets = _encoded(propagator, halves, spec, partial(progress, "encoding"))
    stage = "probes and VAMP-2"
    progress(stage)
    metrics = model.probe_metrics(
        sets[0], sets[1], spec, lag=lag_frames, vampnet_seconds=seconds, seed=seed, tick=partial(progress, stage)
    )
    progress("energies")
    energy = _energies(propagator, halves)
    metrics.append(_energy_probe(sets, energy))
    document = _document(propagator, files, metrics, stride * spacing)
    document |= {"frames": sum(len(run) for half in halves for run in half), "lag_ps": lag_frames * stride * spacing}
    if folder is not None:
        progress("drawing")
        _write(folder, document, sets, energy=energy, spec=spec, seed=seed)
    return document


def _energies(propagator: Propagator, halves: Sequence[list[Floats]]) -> Floats:
    """Energies in kJ/mol by the model's own head, shape (frames,), in batches."""
    everything = [run for half in halves for run in half]
    return np.concatenate([propagator.energies(r[i : i + 512]) for r in everything for i in range(0, len(r), 512)])


def _document(propagator: Propagator, files: Sequence[Path], metrics: list[Metric], interval: float) -> dict[str, Any]:
    return {
        "format": "latentmd-latents-1",
        "model": {"name": propagator.manifest.name, "sha256": propagator.bundle.sha256},
        "trajectories": [str(f) for f in files],
        "interval_ps": interval,
        "metrics": metrics,
        "notes": [],
    }


def _encoded(propagator: Propagator, halves: Sequence[list[Floats]], spec: FeatureSpec, tick: Tick) -> list[Encoded]:
    total, done, sets = sum(len(run) for half in halves for run in half), 0, []
    for half in halves:
        pairs = []
        for run in half:
            tick(done, total)
            pairs.append(model.encode(propagator, run))
            done += len(run)
        sets.append(([p[0] for p in pairs], [p[1] for p in pairs], [spec.values(run) for run in half]))
    return sets


def _write(
    folder: Path, document: dict[str, Any], sets: list[Encoded], energy: Floats, spec: FeatureSpec, seed: int
) -> None:
    slow = [z for s in sets for z in s[0]]
    images, notes = _images(sets, slow, energy, spec=spec, interval=document["interval_ps"], seed=seed)
    document["notes"] = notes
    lead = f"{document['frames']:,} frames, {document['interval_ps']:g} ps apart, lag {document['lag_ps']:g} ps"
    numbers = markup.metric_table(document["metrics"]) + markup.bullets(notes)
    sections = [
        report.Section("Numbers", "Fitted on the first half of the data, scored on the second.", numbers),
        report.Section("Latent structure", figures=images),
    ]
    report.write_page(folder / "latents.html", f"Latent of {document['model']['name']}", lead, sections)
    record.write_json(folder / "latents.json", document)


def _strides(total: int, frames: int, spacing: float, lag: float) -> tuple[int, int]:
    """Stride that keeps to the number of frames and divides the lag, and the lag in strided frames."""
    in_frames = round(lag / spacing)
    if in_frames < 1 or abs(in_frames * spacing - lag) > 1e-3 * lag:
        raise EvaluationError(f"a lag of {lag:g} ps is no whole number of frames {spacing:g} ps apart; change --lag")
    wanted = max(1, -(-total // frames))
    fitting = [s for s in range(1, in_frames + 1) if in_frames % s == 0]
    stride = min((s for s in fitting if s >= wanted), default=in_frames)
    return stride, in_frames // stride


def _halves(runs: list[Floats], lag: int) -> tuple[list[Floats], list[Floats]]:
    if len(runs) > 1:
        halves = runs[: len(runs) // 2], runs[len(runs) // 2 :]
    else:
        middle = len(runs[0]) // 2
        halves = [runs[0][:middle]], [runs[0][middle:]]
    for half in halves:
        longest = max(map(len, half))
        if longest <= 2 * lag:
            raise EvaluationError(
                f"half of the data holds runs of {longest} frames; a lag of {lag} frames needs more than {2 * lag}. "
                "Use longer trajectories or a shorter --lag"
            )
        if max(float(np.ptp(run, axis=0).max()) for run in half) < 1e-6:
            raise EvaluationError("half of the data holds one structure only; a latent needs frames that move")
    return halves


def _energy_probe(sets: list[Encoded], energy: Floats) -> Metric:
    axes = [np.concatenate([np.concatenate(list(kind)) for kind in part[:2]], axis=1) for part in sets]
    split = len(axes[0])
    score = representation.linear_probe_r2(axes[0], energy[:split, None], axes[1], energy[split:, None])
    return Metric("linear probe R2 of the energy, all axes", "representation", float(score[0]),
                  note="energies of the model's own energy head")  # fmt: skip


def _images(
    sets: list[Encoded], slow: list[Floats], energy: Floats, spec: FeatureSpec, interval: float, seed: int
) -> tuple[list[tuple[bytes, str]], list[str]]:
    everything = np.concatenate([np.concatenate([s, f], axis=1) for p in sets for s, f in zip(p[0], p[1], strict=True)])
    values = np.concatenate([v for part in sets for v in part[2]])
    times = np.concatenate([interval * np.arange(len(z)) / 1000 for z in slow])
    pick = np.unique(np.linspace(0, len(everything) - 1, min(len(everything), _SCATTER)).astype(int))
    low, high = np.quantile(energy, [0.01, 0.99])
    colours = {"time (ns)": (times[pick], "viridis", None), "energy (kJ/mol)": (energy[pick], "magma", (low, high))}
    for column in range(min(2, len(spec.names))):
        if spec.kind == "torsions":
            shown = np.rad2deg(values[pick, column])
            colours[f"{spec.names[column]} (degrees)"] = (shown, "twilight", (-180.0, 180.0))
        else:
            colours[f"{spec.names[column]} (nm)"] = (values[pick, column], "viridis", None)
    centred = everything - everything.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    pca = (centred @ vectors[:, ::-1][:, :2])[pick]
    stacked = np.concatenate(slow)[pick]
    maps = {"PCA of all axes": pca, "slow axes 1 and 2": stacked[:, :2] if stacked.shape[1] > 1 else None}
    notes = []
    umap = find_spec("umap")
    if umap is not None and umap.origin is not None:  # a folder of that name without code has no origin
        maps["UMAP of all axes"] = _umap(everything[pick], seed)
    else:
        notes.append("UMAP is not drawn: install it with `pip install 'latentmd[umap]'`")
    return [(_scatter(xy, colours), title) for title, xy in maps.items() if xy is not None], notes


def _umap(points: Floats, seed: int) -> Floats:
    with warnings.catch_warnings():  # the package warns that TensorFlow, which is not used here, is missing
        warnings.simplefilter("ignore", ImportWarning)
        import umap
    return np.asarray(umap.UMAP(n_components=2, random_state=seed, n_jobs=1).fit_transform(points))


def _scatter(xy: Floats, colours: dict[str, Any]) -> bytes:
    made, axes = figures.figure(1, len(colours), width=2.9, height=2.6)
    for axis, (label, (values, name, limits)) in zip(axes, colours.items(), strict=True):
        low, high = limits or (None, None)
        dots = axis.scatter(xy[:, 0], xy[:, 1], c=values, s=2, cmap=name, vmin=low, vmax=high, linewidths=0)
        made.colorbar(dots, ax=axis, shrink=0.9)
        axis.set(title=label, xticks=[], yticks=[])
    return figures.png(made)
