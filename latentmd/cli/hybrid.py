"""`latentmd simulate --mode hybrid`: text for the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from latentmd.units import format_time

if TYPE_CHECKING:
    from latentmd.sampling.hybrid.rounds import RoundProgress
    from latentmd.sampling.request import HybridResult


def round_rows(progress: RoundProgress, wall: float, limit: float) -> list[tuple[str, str]]:
    """Describe a finished round as (name, value) pairs.

    Args:
        progress: of the run.
        wall: seconds of wall time so far.
        limit: budget of wall time in seconds, or infinity.
    """
    from latentmd.sampling.hybrid.gate import ACCEPTED

    decisions = dict(progress.decisions)
    accepted = decisions.get("accepted", decisions.get(ACCEPTED, 0))
    offered = sum(decisions.values())
    rows = [
        ("round", f"{progress.round}, {progress.bursts} bursts, {format_time(progress.simulated)}"),
        ("surrogate proposals", f"{accepted} of {offered} accepted, trained again {progress.refined} times"),
    ]
    if progress.discarded:
        rows.append(("discarded bursts", f"{sum(progress.discarded.values())}"))
    if progress.review is not None:
        estimates = progress.review.estimates
        error = max((x.deviation for x in estimates.logits if x.deviation == x.deviation), default=float("nan"))
        rows.append(("states", f"{len(estimates.states)}, largest error of a free energy {error:.2f} kT"))
        missing = progress.review.missing
        rows.append(("missing", "nothing" if not missing else missing[0] + _more(len(missing) - 1)))
    left = "no limit" if limit == float("inf") else f"{_clock(max(0.0, limit - wall))} left"
    rows.append(("time", f"{_clock(wall)}, {left}"))
    return rows


def _more(count: int) -> str:
    return f"; and {count} more" if count > 0 else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def show_hybrid(result: HybridResult) -> None:
    """A few lines about a finished run."""
    summary = result.summary
    if summary.get("exactness") == "metropolised":
        _show_chains(result)
        return
    if "exactness" in summary:
        click.echo(f"{summary['frames']} of {summary['proposals']} structures kept: {summary['guarantees']}")
        click.echo(f"what remains: {summary['remains']}")
        click.echo(f"wrote {result.folder}/{summary['file']}")
        return
    simulated = format_time(summary["simulated_ps"]["bursts"])
    click.echo(f"{summary['rounds']} rounds, {summary['bursts']} bursts, {simulated} of unbiased MD, "
               f"in {_clock(summary['wall_seconds']['total'])}")  # fmt: skip
    review = summary["review"]
    if review is None:
        click.echo("not converged: too few bursts for statistics; raise --time or --wall and --resume", err=True)
        return
    for name, population in review["populations"].items():
        low, high = population["low"], population["high"]
        span = f" (95 %: {low:.3g} to {high:.3g})" if low is not None else ""
        click.echo(f"  {name}: population {population['value']:.3g}{span}")
    if review["missing"]:
        click.echo("not converged:")
        for sentence in review["missing"]:
            click.echo(f"  - {sentence}")
    else:
        click.echo("converged")
    click.echo(f"wrote {result.folder}/: free_energy.html, weights.npz, bursts/, provenance.csv, summary.json")
    sys.stdout.flush()


def _show_chains(result: HybridResult) -> None:
    """A few lines about finished exact chains."""
    from latentmd.sampling.metropolis.page import verdict

    summary = result.summary
    taken, effective = summary["accepted"].get("draw", 0.0), summary["effective_samples"]
    least = "no state known yet" if effective is None else f"at least {effective:.0f} effective samples of a state"
    click.echo(f"{summary['frames']} frames of equal weight, {least}; {taken:.1%} of the drawn torsions accepted")
    for name, population in summary["populations"].items():
        click.echo(f"  {name}: population {population['value']:.3g} ± {population['standard_error']:.2g}")
    click.echo(verdict(summary["plain_md"]))
    click.echo("not converged:" if summary["missing"] else "converged")
    for sentence in summary["missing"]:
        click.echo(f"  - {sentence}")
    click.echo(f"wrote {result.folder}/: {summary['file']}, metropolised.npz, free_energy.html, summary.json")
