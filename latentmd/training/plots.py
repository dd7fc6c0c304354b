"""Loss curves of every stage and the collapse diagnostics, as one picture."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

_SHOWN = {
    "jepa": ("prediction", "variance", "covariance", "ground", "spectral", "gain"),
    "decoder": ("loss",),
    "fast": ("mean", "scale", "flow"),
    "predictor": ("loss", "mean", "scale", "flow"),
    "energy": ("loss", "force"),
    "latent-energy": ("loss",),
}


def read_log(path: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Stage → quantity → (step, value) in the order of steps; a step that a resumed run repeated counts once."""
    curves: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    with path.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            curves[row["stage"]][row["quantity"]][int(row["step"])] = float(row["value"])
    return {
        stage: {name: sorted(values.items()) for name, values in quantities.items()}
        for stage, quantities in curves.items()
    }


def plot_training(log: Path, out: Path) -> None:
    """Draw the training log, one panel per stage; the JEPA panel states rank and deviations of its latent."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves = read_log(log)
    stages = [stage for stage in _SHOWN if stage in curves]
    figure = Figure(figsize=(12, 3.2 * ((len(stages) + 2) // 3)), layout="constrained")
    FigureCanvasAgg(figure)
    for i, stage in enumerate(stages):
        axes = figure.add_subplot((len(stages) + 2) // 3, 3, i + 1)
        for quantity in _SHOWN[stage]:
            if quantity in curves[stage]:
                steps, values = zip(*curves[stage][quantity], strict=True)
                axes.plot(steps, values, label=quantity, linewidth=1)
        title = stage
        if "rank" in curves[stage]:
            last = {name: curves[stage][name][-1][1] for name in ("rank", "std_min", "std_mean")}
            title += f": effective rank {last['rank']:.1f}, axis deviation {last['std_min']:.2g}"
            title += f" to {last['std_mean']:.2g} (mean)"
        axes.set_title(title, fontsize=8)
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_xlabel("step")
        axes.legend(fontsize=7)
    figure.savefig(out, dpi=120)
