"""Pictures of a training on a world: loss curves, latent maps, reconstructions, forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from latentmd.arrays import Floats
from latentmd.report.figures import figure, panels, png, umap_plane
from latentmd.systems.toy.world import Canvas, World
from latentmd.training.run import plot_training
from latentmd.worlds import evaluation
from latentmd.worlds.config import WorldConfig
from latentmd.worlds.parts import TrainedWorld
from latentmd.worlds.trajectories import WorldData

_SCATTER = 800  # points per map; UMAP is fitted on them
_GIF_FRAMES = 60
_PAPER = 225  # grey about the panels of an animation
_COLOURS = ("#4a5568", "#c2410c", "#2b6cb0")  # truth, forecast, reconstruction


def draw(
    out: Path, trained: TrainedWorld, data: WorldData, config: WorldConfig, curves: Mapping[str, Mapping[str, Floats]]
) -> list[str]:
    """Write all pictures of a training into its folder, beside its log; their names."""
    unit = data.world.units.split(",")[0].split(":")[0]
    interval = data.world.interval
    pictures: dict[str, bytes | None] = {"loss.png": plot_training(out / "training.csv")}
    for kind in config.maps:
        times = [interval * np.arange(len(z)) for z in trained.test]
        pictures[f"latent-{kind.lower()}.png"] = latent_map(trained.test, times, kind, config.seed, unit)
    errors, drifts = curves["errors"], curves["drifts"]
    pictures["forecast.png"] = forecast_curves(errors, interval * config.jepa.lag[0], unit, drifts)
    seen, found = data.test.seen[0], evaluation.read(trained.model.decoder, torch.from_numpy(trained.test[0]))
    if data.fluid:  # kinetic energies of the first particles
        seen, found = seen[..., 0], found[..., 0]
    elif seen.ndim != 3:
        seen, found = seen.reshape(len(seen), -1), found.reshape(len(seen), -1)
    pictures["reconstruction.png"] = reconstruction_sheet(seen, found)
    drawn = {name: content for name, content in pictures.items() if content is not None}
    for name, content in drawn.items():
        (out / name).write_bytes(content)
    forecast_gif(out / "forecast.gif", _panels(trained, data, config))
    return [*drawn, "forecast.gif"]


def _panels(trained: TrainedWorld, data: WorldData, config: WorldConfig) -> Mapping[str, Floats]:
    """Truth, forecast and reconstruction of the first held-out trajectory as pictures."""
    lag, horizon, model = config.jepa.lag[0], config.horizon, trained.model
    made = evaluation.forecast({"own": model.predictor}, trained.test[:1], lag, horizon, config.seed, starts=1)
    latents = {"forecast": made.predicted["own"][0], "reconstruction": made.truth[0]}
    frames = lag * np.arange(horizon + 1)
    seen, states = data.test.seen[0], data.test.states[0][frames]
    if seen.ndim == 3 and not data.fluid:
        return {"truth": seen[frames]} | {title: evaluation.read(model.decoder, z) for title, z in latents.items()}
    read = {title: evaluation.read(model.reader, z) for title, z in latents.items()}
    if data.fluid:
        quantities, box = {"truth": data.test.quantities[0][frames], **read}, data.fluid.box
        return {title: draw_particles(states, q[..., 0], box) for title, q in quantities.items()}
    moved = {"truth": states} | {title: data.states(values) for title, values in read.items()}
    return {title: draw_states(data.world, values) for title, values in moved.items()}


def latent_map(latents: Sequence[Floats], times: Sequence[Floats], kind: str, seed: int, unit: str) -> bytes | None:
    """Latents in the plane by "PCA" or "UMAP", coloured by time; None where UMAP is not installed."""
    flat = np.concatenate(latents).reshape(sum(map(len, latents)), -1)
    colour = np.concatenate(times)
    pick = np.unique(np.linspace(0, len(flat) - 1, min(len(flat), _SCATTER)).astype(int))
    points = (flat[pick] - flat.mean(0)) / (flat.std(0) + 1e-9)
    if kind == "PCA":
        plane = points @ np.linalg.svd(points, full_matrices=False)[2][:2].T
    elif (plane := umap_plane(points, seed)) is None:
        return None
    made, axes = figure(1, 1, width=4.2, height=3.4)
    dots = axes[0].scatter(plane[:, 0], plane[:, 1], c=colour[pick], s=3, cmap="viridis", linewidths=0)
    made.colorbar(dots, ax=axes[0]).set_label(f"time ({unit})")
    axes[0].set(title=f"{kind}, held-out trajectories", xticks=[], yticks=[])
    return png(made)


def forecast_curves(errors: Mapping[str, Floats], interval: float, unit: str, drifts: Mapping[str, Floats]) -> bytes:
    """Error of every predictor over the horizon, and the drift of the physical energy of its decoded states."""
    made, axes = figure(1, 2 if drifts else 1, width=4.2, height=3.2)
    labels = ("RMS error of read-out / spread", "|change of energy| / spread")
    for axis, curves, label in zip(axes, (errors, drifts), labels, strict=False):
        for name, values in curves.items():
            axis.plot(interval * np.arange(len(values)), values, label=name, lw=1.3)
        axis.set(xlabel=f"time ({unit})", ylabel=label)
        axis.legend(fontsize=7, frameon=False)
    return png(made)


def reconstruction_sheet(truth: Floats, found: Floats) -> bytes:
    """What was seen and what is decoded from the latent: pictures, or time series [frames, quantities]."""
    if truth.ndim == 3:
        shown = np.linspace(0, len(truth) - 1, min(8, len(truth))).astype(int)
        made, axes = figure(2, len(shown), width=1.2, height=1.3)
        for column, frame in enumerate(shown):
            for row, images in enumerate((truth, found)):
                axis = axes[row * len(shown) + column]
                axis.imshow(images[frame], cmap="gray", vmin=0, vmax=1)
                axis.set(xticks=[], yticks=[])
        axes[0].set_ylabel("seen")
        axes[len(shown)].set_ylabel("decoded")
        return png(made)
    made, axes = panels(min(8, truth.shape[1]), 4, height=1.9)
    for column, axis in enumerate(axes):
        axis.plot(truth[:, column], color=_COLOURS[0], lw=1.4, label="seen")
        axis.plot(found[:, column], color=_COLOURS[1], lw=1, ls="--", label="decoded")
        axis.set(title=f"observed {column}", xlabel="frame")
    axes[0].legend(fontsize=7, frameon=False)
    return png(made)


def draw_states(world: World, states: Floats) -> Floats:
    """Pictures [frames, height, width] of states: the world's own, or its first two columns as points in the plane."""
    if "pixels" in world.observations:
        return world.observe(np.asarray(states, dtype=np.float64), "pixels")
    low, high = states[:, :2].min(axis=0), states[:, :2].max(axis=0)
    half = 0.55 * float((high - low).max()) + 1e-6
    canvas = Canvas(len(states), tuple((low + high) / 2), half)
    canvas.disc(states[:, :2], 0.06 * half)
    return canvas.picture


def draw_particles(states: Floats, energies: Floats, box: float) -> Floats:
    """Pictures [frames, height, width] of particles at their true places, as bright as their kinetic energies."""
    brightness = np.clip(energies / (3 * energies.mean()), 0.05, 1.0)
    canvas = Canvas(len(states), (box / 2, box / 2), box / 2)
    for particle, shades in enumerate(brightness.T):
        canvas.disc(states[:, particle, :2], 0.4 * box / states.shape[1] ** 0.5, shades)
    return canvas.picture


def forecast_gif(path: Path, panels: Mapping[str, Floats], seconds: float = 6.0) -> None:
    """An animation with one panel of images [frames, height, width] in [0, 1] per title, side by side."""
    frames = len(next(iter(panels.values())))
    shown = np.unique(np.linspace(0, frames - 1, min(frames, _GIF_FRAMES)).astype(int))
    scale = max(1, round(192 / next(iter(panels.values())).shape[1]))
    images = []
    for frame in shown:
        tiles = []
        for values in panels.values():
            pixels = (255 * np.clip(values[frame], 0, 1)).astype(np.uint8).repeat(scale, 0).repeat(scale, 1)
            tiles.append(np.pad(pixels, ((18, 4), (4, 4)), constant_values=_PAPER))
        image = Image.fromarray(np.concatenate(tiles, axis=1))
        draw = ImageDraw.Draw(image)
        for i, title in enumerate(panels):
            draw.text((6 + i * tiles[0].shape[1], 4), title, fill=0)
        images.append(image)
    duration = round(1000 * seconds / len(images))
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=duration, loop=0)
