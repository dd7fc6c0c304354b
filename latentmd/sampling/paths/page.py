"""paths.html and paths.png of a run of paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.io.atomic import write_bytes
from latentmd.report import page as report
from latentmd.report.markup import bullets, table
from latentmd.report.viewer import View
from latentmd.sampling.paths import figures
from latentmd.sampling.paths.batch import path_file
from latentmd.units import format_time

if TYPE_CHECKING:
    from latentmd.sampling.paths.passages import Channel, Drawn, Passage
    from latentmd.sampling.paths.plan import PathPlan

_VIEWED = 3  # paths in the 3-D view
_ROWS = 12  # channels in the table
_CAPTION = (
    "Grey: free energy of the training data, or of the model where its file has none. Dots: frames of the paths by "
    "time. Lines: transitions of eight paths. Circle and square: mean start and end. Right: solid, the paths; dashed, "
    "the exact bridge of the chain of cells."
)
_METHOD = (
    "Paths are those of the model conditioned on both ends: the chain of its cells gives the probability of the end "
    "from everywhere (Doob's h-transform), a particle filter guided by it draws the latent steps, and weights correct "
    "the rest. Frames are decoded one by one; those with an energy that MD does not show are minimised."
)


def write_page(
    plan: PathPlan, drawn: Drawn, found: tuple[Sequence[Passage], Sequence[Channel]], summary: dict[str, Any]
) -> None:
    """Write paths.png and paths.html.

    Args:
        plan: of the run.
        drawn: the paths.
        found: passage of each path, and the ways between the ends.
        summary: content of summary.json.
    """
    passages, ways = found
    folder, request = plan.request.out, plan.request
    image = figures.overview(plan, drawn, passages)
    write_bytes(folder / "paths.png", image)
    rows = [(way.name, f"{way.count:,}", f"{way.share:.1%} ({way.low:.1%} to {way.high:.1%})") for way in ways[:_ROWS]]
    states = [(str(s["state"]), s["at"], f"{s['population']:.1%}", f"{s['share_of_path_frames']:.1%}")
              for s in summary["states"]]  # fmt: skip
    durations = figures.transitions(plan, passages)
    sections = [
        report.Section("Paths", figures=[(image, _CAPTION)]),
        report.Section("Ways between the ends", _ways_text(ways, summary), table(("states", "paths", "share"), rows)),
        report.Section("States of the model", "Metastable sets of the chain of cells (PCCA+).",
                       table(("state", "where", "population", "share of path frames"), states)),
        report.Section("Transitions", figures=[(durations, "Durations and arrivals")] if durations else []),
        report.Section("What the run did", _METHOD, _work(plan, summary) + bullets(summary["notes"])),
    ]  # fmt: skip
    lead = (
        f"{request.count:,} paths from {plan.ends[0].name} to {plan.ends[1].name} in {format_time(request.time)}, a "
        f"frame every {format_time(request.interval)}"
    )
    report.write_page(folder / "paths.html", "Paths", lead, sections, _view(plan))


def _ways_text(ways: Sequence[Channel], summary: dict[str, Any]) -> str:
    left = f" The {len(ways) - _ROWS} rarest are left out." if len(ways) > _ROWS else ""
    return (
        "States from the last frame in the first one to the first frame in the last one, with 95 % intervals for "
        f"{summary['independent_paths']:.0f} independent paths.{left}"
    )


def _work(plan: PathPlan, summary: dict[str, Any]) -> Any:
    found = summary["log_probability_of_end"]
    model = f"{np.exp(found['model']):.3g} ({found['model_is']})"
    sound = summary["frames_sound_before_relaxation"]
    rows = [
        ("probability of the end, model", model),
        ("probability of the end's cells, chain", f"{np.exp(found['chain of cells']):.3g}"),
        ("mean ln probability of a path among those of the bridge", f"{summary['mean_ln_probability']:.1f}"),
        ("least effective share of particles", f"{summary['least_effective_share']:.1%}"),
        ("frames sound before relaxation", "none was drawn" if sound is None else f"{sound:.2%}"),
        ("frames minimised", f"{summary['frames_relaxed']:,} of {summary['frames']:,}"),
        ("frames failing a check at the end", f"{summary['frames_failing_checks']:,}"),
    ]
    return table(("quantity", "value"), rows)


def _view(plan: PathPlan) -> View:
    import mdtraj

    from latentmd.io.ascii import ascii_path

    topology = mdtraj.load_topology(str(plan.request.out / "topology.pdb"))
    sets = []
    for number in range(min(_VIEWED, plan.request.count)):
        with ascii_path(path_file(plan.request.out, number)) as name:
            loaded = mdtraj.load(name, top=topology)
        sets.append((f"path {number}", loaded.xyz, loaded.time))
    return View(topology, sets)
