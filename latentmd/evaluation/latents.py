"""The structure of a model's latent: metrics on held-out frames, and `latentmd latents`, its figures and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from latentmd.analysis import features, representation
from latentmd.analysis.features import EvaluationError, FeatureSpec
from latentmd.analysis.metric import Document, Metric
from latentmd.analysis.reference import check_length, lag_frames
from latentmd.analysis.statistics import evenly
from latentmd.arrays import Floats, Ints
from latentmd.evaluation.inputs import Paths, in_order_of, trajectory_files
from latentmd.io.folder import results_folder
from latentmd.io.progress import Progress, Tick, part_of, quiet, silent, stage
from latentmd.io.trajectory import load_positions
from latentmd.model.propagator import Propagator
from latentmd.report import figures, markup
from latentmd.report import page as report

_GROUP = "representation"
_SCATTER = 5000  # points drawn per panel; UMAP is fitted on them
_BATCH = 512
_NETS = 3  # VAMPnets, whose scores scatter by their seeds


@dataclass(frozen=True)
class Encoded:
    """Slow axes, fast axes and features of some runs, each one array (frames, ...) per run."""

    slow: list[Floats]
    fast: list[Floats]
    values: list[Floats]

    @property
    def axes(self) -> Floats:
        """All axes of all frames, shape (frames, slow + fast)."""
        return np.concatenate([np.concatenate(self.slow), np.concatenate(self.fast)], axis=1)


def encoded(propagator: Propagator, spec: FeatureSpec, runs: Sequence[Floats], tick: Tick = silent) -> Encoded:
    """Encode runs of frames (frames, atoms, 3) in nm."""
    made, done, total = Encoded([], [], []), 0, sum(map(len, runs))
    for run in runs:
        tick(done, total)
        batches = [propagator.encode_all(run[i : i + _BATCH]) for i in range(0, len(run), _BATCH)]
        slow, fast = (
            np.concatenate([part.flatten(1).double().cpu().numpy() for part in parts])
            for parts in zip(*batches, strict=True)
        )
        made.slow.append(slow)
        made.fast.append(fast)
        made.values.append(spec.values(run))
        done += len(run)
    return made


@dataclass(frozen=True)
class VampNets:
    """Three VAMPnets that a latent is compared with, each trained for some seconds from a seed of its own."""

    seconds: float
    seed: int
    tick: Tick = silent


def probe_metrics(train: Encoded, test: Encoded, spec: FeatureSpec, lag: int, nets: VampNets) -> list[Metric]:
    """Rank, deviations, probes and VAMP-2 of the slow axes on held-out runs, beside TICA and VAMPnets."""
    axes = {"all axes": (train.axes, test.axes), "slow axes": (np.concatenate(train.slow), np.concatenate(test.slow))}
    note = "reference: number of axes"
    rows = [
        Metric(f"effective rank, {label}", _GROUP, representation.rank_me(x), "", x.shape[1], note=note)
        for label, (_, x) in axes.items()
    ]
    for label, deviation in zip(("smallest", "mean"), representation.axis_deviations(test.axes), strict=True):
        rows.append(Metric(f"axis deviation, {label}", _GROUP, deviation))
    inputs, held_out = ([spec.coordinates(v) for v in s.values] for s in (train, test))
    for label, (x0, x) in axes.items():
        score = representation.linear_probe_r2(x0, np.concatenate(inputs), x, np.concatenate(held_out))
        rows.append(Metric(f"linear probe R2 of {spec.kind}, {label}, worst", _GROUP, float(np.nanmin(score))))
    return rows + vamp_metrics(inputs, held_out, test.slow, kind=spec.kind, lag=lag, nets=nets)


def vamp_metrics(
    train: Sequence[Floats], test: Sequence[Floats], slow: Sequence[Floats], kind: str, lag: int, nets: VampNets
) -> list[Metric]:
    """VAMP-2 of the slow axes beside TICA and VAMPnets fitted on the training runs with as many outputs (of TICA no
    more than inputs), on the same held-out pairs of frames; intervals are a bootstrap over the held-out runs.
    """
    count = slow[0].shape[1]
    tica = representation.tica_outputs(train, test, lag, min(count, train[0].shape[1]))
    sets = [slow, tica]
    for k in range(_NETS):
        tick = part_of(nets.tick, k * nets.seconds, _NETS * nets.seconds)
        sets.append(
            representation.vampnet_outputs(train, test, lag, count, nets.seconds, seed=nets.seed + k, tick=tick)
        )
    scores = [representation.vamp2_score(s, lag) for s in sets]
    draws = representation.vamp2_resamples(sets, lag, np.random.default_rng(nets.seed))
    merged = np.column_stack([draws[:, :2], draws[:, 2:].mean(axis=1)])
    low, high = np.quantile(np.column_stack([merged, merged[:, :1] - merged[:, 2:]]), [0.025, 0.975], axis=0)
    net, each = float(np.mean(scores[2:])), ", ".join(f"{s:.4f}" for s in scores[2:])
    rows = (
        ("slow axes", scores[0], f"{count} outputs, lag {lag} frame(s), {len(test)} held-out runs"),
        (f"TICA on {kind}", scores[1], f"{tica[0].shape[1]} outputs"),
        (f"VAMPnet on {kind}", net, f"{count} outputs; {_NETS} seeds of {nets.seconds:g} s: {each}"),
        ("slow axes less VAMPnet", scores[0] - net, "paired over the same resampled runs"),
    )
    return [
        Metric(f"VAMP-2, {name}", _GROUP, value, low=float(a), high=float(b), note=note)
        for (name, value, note), a, b in zip(rows, low, high, strict=True)
    ]


def prediction_gain(propagator: Propagator, slow: Sequence[Floats], interval: float) -> Metric:
    """Gain of the mean step over persistence on held-out slow axes (frames, axes) per run, `interval` ps apart."""
    x, y = representation.lagged(slow, 1)
    z = torch.as_tensor(x, dtype=propagator.dtype, device=propagator.device)
    mean = propagator.mean_step(z.reshape(len(x), -1, int(propagator.manifest.slow_axes)), interval)
    gain = representation.persistence_gain(x, y, mean.flatten(1).double().cpu().numpy())
    return Metric(f"gain over persistence, lag {interval:g} ps", _GROUP, gain)


@dataclass(frozen=True)
class LatentSettings:
    """Settings of `latents`."""

    lag: float | None = None  #: ps, of VAMP-2; the model's shortest step where None
    interval: float | None = None  #: ps between frames, for files without times
    frames: int = 40_000  #: most of them, all runs together; runs are thinned as far as the lag allows, then cut
    seconds: float = 20.0  #: training time of each VAMPnet
    seed: int = 0  #: of the VAMPnets and of UMAP


def latents(
    trajectories: Paths,
    top: str | Path,
    name: str | Path,
    *,
    out: str | Path | None = None,
    settings: LatentSettings = LatentSettings(),
    overwrite: bool = False,
    progress: Progress = quiet,
) -> Document:
    """Encode trajectories and describe the latent: rank, probes, VAMP-2 beside rivals, PCA and UMAP.

    The first half of the runs (of the one run's frames) fits the probes and rivals, the second half scores them.

    Args:
        trajectories: files or folders, independent runs.
        top: PDB file of the molecule.
        name: bundle or bundled model.
        out: folder for latents.json and latents.html; nothing is written where None.
        settings: lag, number of frames and the rest.
        overwrite: replace an earlier result in `out`.
        progress: called with the name of each stage as it begins, and with what is done and the total where known.

    Returns:
        The document written to latents.json.

    Raises:
        EvaluationError: anything wrong with the input, in one sentence.
    """
    folder = None if out is None else results_folder(Path(out), overwrite, "latents.json")
    progress("loading the model")
    topology, structure = features.load_topology(Path(top))
    spec = features.feature_spec(topology)
    propagator = in_order_of(Propagator(name), topology, structure[0], top)
    progress("reading")
    files = trajectory_files(trajectories)
    runs, spacing = load_positions(files, str(top), settings.interval)
    stride, lag = _strides(sum(map(len, runs)), settings.frames, spacing, settings.lag or propagator.lag_range[0])
    halves = _halves([run[::stride][: max(1, settings.frames // len(runs))] for run in runs], lag, stride * spacing)
    tick, sizes = stage(progress, "encoding"), [sum(map(len, half)) for half in halves]
    train, test = (
        encoded(propagator, spec, half, part_of(tick, begun, sum(sizes)))
        for half, begun in zip(halves, (0, sizes[0]), strict=True)
    )
    metrics = probe_metrics(
        train, test, spec, lag, VampNets(settings.seconds, settings.seed, stage(progress, "probes and VAMP-2"))
    )
    progress("energies")
    energy = np.concatenate(
        [propagator.energies(r[i : i + _BATCH]) for half in halves for r in half for i in range(0, len(r), _BATCH)]
    )
    fitted, scored = np.split(energy[:, None], [sizes[0]])
    score = float(representation.linear_probe_r2(train.axes, fitted, test.axes, scored)[0])
    note = "energies of the model's own energy head"
    metrics.append(Metric("linear probe R2 of the energy, all axes", _GROUP, score, note=note))
    document = {
        "format": "latentmd-latents-1",
        "model": {"name": propagator.manifest.name, "sha256": propagator.bundle.sha256},
        "trajectories": [str(f) for f in files],
        "interval_ps": stride * spacing,
        "metrics": metrics,
        "notes": [],
        "frames": sum(sizes),
        "lag_ps": lag * stride * spacing,
    }
    if folder is not None:
        progress("drawing")
        whole = Encoded(train.slow + test.slow, train.fast + test.fast, train.values + test.values)
        _write(folder, document, whole, energy=energy, spec=spec, seed=settings.seed)
    return document


def _write(folder: Path, document: Document, whole: Encoded, energy: Floats, spec: FeatureSpec, seed: int) -> None:
    pick = evenly(len(energy), _SCATTER)
    colours = _colours(whole, energy, spec, document["interval_ps"], pick)
    maps, document["notes"] = _maps(whole, pick, seed)
    lead = f"{document['frames']:,} frames, {document['interval_ps']:g} ps apart, lag {document['lag_ps']:g} ps"
    numbers = markup.metric_table(document["metrics"]) + markup.bullets(document["notes"])
    drawn = []
    for title, xy in maps.items():
        made, axes = figures.figure(1, len(colours), width=2.9, height=2.6)
        for axis, (label, (values, name, limits)) in zip(axes, colours.items(), strict=True):
            low, high = limits or (None, None)
            dots = axis.scatter(xy[:, 0], xy[:, 1], c=values, s=2, cmap=name, vmin=low, vmax=high, linewidths=0)
            made.colorbar(dots, ax=axis, shrink=0.9)
            axis.set(title=label, xticks=[], yticks=[])
        drawn.append((figures.png(made), title))
    sections = [
        report.Section("Numbers", "Fitted on the first half of the data, scored on the second.", numbers),
        report.Section("Latent structure", figures=drawn),
    ]
    report.write_page(folder / "latents.html", f"Latent of {document['model']['name']}", lead, sections)
    report.write_json(folder / "latents.json", document)


def _strides(total: int, frames: int, spacing: float, lag: float) -> tuple[int, int]:
    """Stride that keeps to the number of frames and divides the lag, and the lag in strided frames."""
    in_frames = lag_frames(lag, spacing)
    wanted = max(1, -(-total // frames))
    fitting = [s for s in range(1, in_frames + 1) if in_frames % s == 0]
    stride = min((s for s in fitting if s >= wanted), default=in_frames)
    return stride, in_frames // stride


def _halves(runs: list[Floats], lag: int, interval: float) -> tuple[list[Floats], list[Floats]]:
    parts = runs if len(runs) > 1 else [runs[0][: len(runs[0]) // 2], runs[0][len(runs[0]) // 2 :]]
    halves = parts[: len(parts) // 2], parts[len(parts) // 2 :]
    for half in halves:
        check_length("half-data", half, lag, interval)
        if max(float(np.ptp(run, axis=0).max()) for run in half) < 1e-6:
            raise EvaluationError("half of the data holds one structure only; a latent needs frames that move")
    return halves


def _colours(whole: Encoded, energy: Floats, spec: FeatureSpec, interval: float, pick: Ints) -> Document:
    """What colours the points: by label the values, the colour map and its limits."""
    values = np.concatenate(whole.values)[pick]
    times = np.concatenate([interval * np.arange(len(z)) / 1000 for z in whole.slow])
    limits = tuple(np.quantile(energy, [0.01, 0.99]))
    colours = {"time (ns)": (times[pick], "viridis", None), "energy (kJ/mol)": (energy[pick], "magma", limits)}
    for name, column in zip(spec.names[:2], values.T, strict=False):
        if spec.kind == "torsions":
            colours[f"{name} (degrees)"] = (np.rad2deg(column), "twilight", (-180.0, 180.0))
        else:
            colours[f"{name} (nm)"] = (column, "viridis", None)
    return colours


def _maps(whole: Encoded, pick: Ints, seed: int) -> tuple[dict[str, Floats], list[str]]:
    """Points (frames, 2) of each map of the latent, and notes on what is not drawn."""
    everything, slow = whole.axes, np.concatenate(whole.slow)[pick]
    centred = everything - everything.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    maps = {"PCA of all axes": (centred @ vectors[:, ::-1][:, :2])[pick]}
    if slow.shape[1] > 1:
        maps["slow axes 1 and 2"] = slow[:, :2]
    if (plane := figures.umap_plane(everything[pick], seed)) is None:
        return maps, ["UMAP is not drawn: install it with `pip install 'latentmd[umap]'`"]
    return maps | {"UMAP of all axes": plane}, []
