"""free_energy.html of a hybrid run: results, their errors, and in words what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from latentmd.report import page as report
from latentmd.report.markup import bullets, table
from latentmd.report.viewer import View
from latentmd.sampling.hybrid.folder import PAGE
from latentmd.sampling.hybrid.surfaces import WeightedFrames, convergence_figure, surface_figures, torsion_words
from latentmd.units import KILOCALORIE, format_time, thermal_energy

if TYPE_CHECKING:
    from latentmd.sampling.hybrid.rounds import Hybrid
    from latentmd.sampling.request import HybridRun


VIEWED = 40  # frames of each state in the 3-D view
UNKNOWN = "not known"


def write_free_energy_page(
    run: HybridRun, sampler: Hybrid, summary: dict[str, Any], weights: dict[str, NDArray[Any]]
) -> None:
    """Write the page into the run's folder, whole or not at all.

    Args:
        run: the request and the engine.
        sampler: with all bursts.
        summary: content of summary.json, with a review.
        weights: content of weights.npz.
    """
    frames = WeightedFrames.of_bursts(run, sampler, weights)
    review = summary["review"]
    sections = [
        report.Section("Can these numbers be trusted?", _verdict(review), bullets(review["missing"])),
        report.Section("States", _STATES, _states(review, frames, summary["temperature"])),
        report.Section("Free-energy surfaces", _SURFACES, figures=surface_figures(frames, summary["temperature"])),
        report.Section(
            "Times",
            _TIMES.format(lag=review["lag_ps"], friction=summary["friction"]),
            _timescales(review) + _passages(review),
        ),
    ]
    curve = convergence_figure(sampler.rounds)
    if curve is not None:
        sections.append(report.Section("Progress", figures=[(curve, "Reviews of the statistics, by simulated time")]))
    sections.append(report.Section("What the run did", _WORK, _work(summary)))
    simulated = format_time(summary["simulated_ps"]["bursts"])
    state = "converged" if not review["missing"] else "not converged"
    lead = (
        f"{run.folder.name}: {state} after {simulated} of unbiased MD in {summary['bursts']} bursts, "
        f"{summary['temperature']:g} K, {summary['solvent']} solvent, {summary['wall_seconds']['total']:.0f} s"
    )
    view = View(run.engine.molecule.topology, frames.drawn_by_state(sampler.dataset.trajectories(skip=0), VIEWED))
    report.write_page(run.folder / PAGE, "Free energies", lead, sections, view if view.sets else None)


_STATES = (
    "Populations at equilibrium from a reversible Markov model of the bursts, with 95 % credible intervals: the wider "
    "of a Bayesian bootstrap over bursts and the posterior of reversible matrices, widened by how far the number moves "
    "when lag, discarded time or cells change. Free energies are against everything else. Sets that nobody named are "
    "metastable sets of cells (PCCA+); a basin that no burst reached is in none of them."
)
_SURFACES = "All burst frames, each with its equilibrium weight; raw surrogate frames are never among them."
_TIMES = (
    "Implied timescales at a lag of {lag:g} ps, and mean first-passage times between states, all at the friction of "
    "the bursts, {friction:g} per ps."
)
_WORK = (
    "Every number on this page comes from unbiased full-atom bursts, without their relaxation time. The surrogate only "
    "proposed where bursts start; a proposal that the trust gate rejected was replaced by plain MD from a real frame."
)


def _verdict(review: dict[str, Any]) -> str:
    if not review["missing"]:
        return "Yes, as far as the run can tell: every test of convergence was passed at two reviews in a row."
    return "Not yet: the statistics are not converged. Numbers below are provisional; this is missing:"


def _states(review: dict[str, Any], frames: WeightedFrames, temperature: float) -> str:
    kt = thermal_energy(temperature) / KILOCALORIE
    rows = []
    for index, (name, population) in enumerate(review["populations"].items()):
        logit = review["logits"][name]
        energy, error = (None if x is None else kt * x for x in (logit["value"], logit["standard_error"]))
        text = UNKNOWN if energy is None else f"{-energy:.2f} ± {_number(error)}"
        crossings = review["crossings"][name]
        rows.append((name, torsion_words(frames, index), _interval(population), text,
                     f"{crossings['into']} in, {crossings['out']} out"))  # fmt: skip
    return table(("state", "where", "population", "free energy (kcal/mol, ± standard error)", "bursts across"), rows)


def _timescales(review: dict[str, Any]) -> str:
    rows = [(str(i + 1), _interval(t, " ps")) for i, t in enumerate(review["timescales_ps"])]
    return table(("process", "timescale"), rows)


def _passages(review: dict[str, Any]) -> str:
    rows = [(*tuple(name.split(" -> ")), _interval(t, " ps")) for name, t in review["first_passage_ps"].items()]
    return table(("from", "to", "mean first-passage time"), rows) if rows else ""


def _work(summary: dict[str, Any]) -> str:
    rows = [(name, str(count)) for name, count in sorted(summary["gate"].items(), key=lambda item: -item[1])]
    text = table(("verdict of the trust gate", "proposals"), rows) if rows else ""
    rows = [(reason, str(count)) for reason, count in summary["discarded_bursts"].items()]
    text += table(("bursts discarded", "number"), rows) if rows else ""
    rows = [(name, f"{seconds:.1f} s") for name, seconds in summary["wall_seconds"].items()]
    return text + table(("wall time", ""), rows)


def _interval(value: dict[str, float | None], unit: str = "") -> str:
    if value["value"] is None:
        return UNKNOWN
    span = "" if value["low"] is None else f" ({_number(value['low'])} to {_number(value['high'])})"
    return f"{_number(value['value'])}{span}{unit}"


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3g}"
