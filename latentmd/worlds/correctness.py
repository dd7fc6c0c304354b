"""Hybrid sampling against exact populations, with good and with deliberately bad surrogates.

    python -m latentmd.worlds.correctness --out correctness.jsonl

runs a double well and the Müller-Brown potential with a trained surrogate, one trained on a single basin and an
untrained one, twenty seeds each, and prints how often the populations came out within two standard errors. A line of
JSON is added for every run; runs that are in the file already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.sampling.hybrid.convergence import Criteria
from latentmd.sampling.hybrid.rounds import Hybrid, Outcome
from latentmd.sampling.hybrid.settings import RoundSettings
from latentmd.worlds.explorer import LatentExplorer, load_explorer, trained
from latentmd.worlds.landscapes import ToyEngine, double_well, muller_brown

EXPLORERS = ("trained", "one basin", "untrained")

_ENGINES = {"double well": ToyEngine(double_well(), 5), "Müller-Brown": ToyEngine(muller_brown(), 25)}
_CRITERIA = Criteria(precision=0.4)
_SETTINGS = {
    "double well": RoundSettings(
        starts=128, relaxation=0, lag=5, frames=24, cells=40, growth=1.6, time=1200.0, criteria=_CRITERIA
    ),
    "Müller-Brown": RoundSettings(
        starts=128, relaxation=0, lag=10, frames=50, cells=160, growth=1.6, time=1600.0, criteria=_CRITERIA
    ),
}
LANDSCAPES = tuple(_ENGINES)
_TRAINING = 300  # frames of the bootstrap in each basin


def make_run(landscape: str, explorer: str, seed: int, folder: str | Path, limit: float | None = None) -> Hybrid:
    """A hybrid run of a toy landscape that begins in its deepest basin alone.

    Args:
        landscape: one of `LANDSCAPES`.
        explorer: one of `EXPLORERS`; the bad ones are never refined.
        seed: of everything.
        folder: of the run.
        limit: budget of simulated time in place of the landscape's own.
    """
    engine = _ENGINES[landscape]
    starts = np.array(engine.landscape.starts)
    settings = replace(_SETTINGS[landscape], seed=seed, refine=1.5 if explorer == "trained" else None)
    if limit is not None:
        settings = replace(settings, time=limit)
    if explorer == "untrained":
        surrogate = LatentExplorer(starts.shape[1], settings.lag, seed, fixed=True)
    else:
        known = starts if explorer == "trained" else starts[:1]
        paths = [engine.burst(start, _TRAINING, 1000 * seed + i).positions for i, start in enumerate(known)]
        surrogate = trained(paths, settings.lag, seed, fixed=explorer != "trained")
    return Hybrid(
        engine, surrogate, load=load_explorer, start=starts[:1], states=engine.landscape.states, settings=settings,
        folder=folder,
    )  # fmt: skip


def trial(landscape: str, explorer: str, seed: int, folder: str | Path) -> dict[str, Any]:
    """Run to convergence or to the end of the budget and compare with the exact populations; JSON values.

    Args:
        landscape: one of `LANDSCAPES`.
        explorer: one of `EXPLORERS`.
        seed: of everything.
        folder: of the run.
    """
    began = time.process_time()
    outcome = make_run(landscape, explorer, seed, folder).run()
    return {
        "landscape": landscape,
        "explorer": explorer,
        "seed": seed,
        "status": outcome.status,
        **_compare(landscape, outcome),
        "simulated": outcome.progress.simulated,
        "cpu_seconds": time.process_time() - began,
        "decisions": outcome.progress.decisions,
        "refined": outcome.progress.refined,
    }


def _compare(landscape: str, outcome: Outcome) -> dict[str, Any]:
    review = outcome.progress.review
    assert review is not None
    exact = _ENGINES[landscape].landscape.populations()
    name, population = review.estimates.states[0], review.estimates.populations[0]
    return {
        "population": population.value,
        "standard_error": population.deviation,
        "exact": exact[name],
        "deviation": (population.value - exact[name]) / population.deviation if population.deviation > 0 else None,
        "missing": list(review.missing),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Text table: runs, converged ones, and how many of these lie within two standard errors of the exact value."""
    lines = [
        f"{'landscape':14}{'explorer':12}{'runs':>5}{'converged':>11}{'within 2 SE':>13}{'all runs':>10}{'time':>8}"
    ]
    for landscape in LANDSCAPES:
        for explorer in EXPLORERS:
            mine = [r for r in rows if r["landscape"] == landscape and r["explorer"] == explorer]
            done = [r for r in mine if r["status"] == "converged"]
            if mine:
                simulated = np.median([r["simulated"] for r in mine])
                lines.append(
                    f"{landscape:14}{explorer:12}{len(mine):5}{len(done):11}"
                    f"{_covered(done):8} / {len(done):2}{_covered(mine):10}{simulated:8.0f}"
                )
    return "\n".join(lines)


def _covered(rows: Sequence[dict[str, Any]]) -> int:
    return sum(r["deviation"] is not None and abs(r["deviation"]) <= 2 for r in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines, added to")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--landscape", choices=LANDSCAPES, action="append")
    parser.add_argument("--explorer", choices=EXPLORERS, action="append")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    done = {(r["landscape"], r["explorer"], r["seed"]) for r in rows}
    for seed in range(options.seeds):
        for landscape in options.landscape or LANDSCAPES:
            for explorer in options.explorer or EXPLORERS:
                if (landscape, explorer, seed) in done:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    rows.append(trial(landscape, explorer, seed, folder))
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1], ensure_ascii=False) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
