"""Text for the terminal about exact chains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from latentmd.sampling.metropolis.settings import ChainsResult

_SHOWN = 12  # most sentences about what is missing


def show_chains(result: ChainsResult) -> None:
    """A few lines about finished exact chains."""
    from latentmd.sampling.metropolis.page import state_words, verdict

    summary = result.summary
    taken, effective = summary["accepted"].get("draw"), summary["effective_samples"]
    moves = f"{taken:.1%} of the drawn torsions accepted" if taken is not None else "rings moved by the ladder only"
    least = "no well from 1 to 99 %" if effective is None else f"at least {effective:.0f} effective samples of a state"
    click.echo(f"{summary['frames']} frames of equal weight, {least}; {moves}")
    for name, population in summary["populations"].items():
        low, high = population["degrees"]
        if high - low < population["period"]:
            click.echo(f"  {name}: population {population['in_words']}")
    for sentence in summary["remarks"]:
        click.echo(f"  {sentence}")
    if summary["plain_md"] is not None:
        click.echo(verdict(summary["plain_md"]))
    click.echo(state_words(summary) + (":" if summary["missing"] else ""))
    for sentence in summary["missing"][:_SHOWN]:
        click.echo(f"  - {sentence}")
    if len(summary["missing"]) > _SHOWN:
        click.echo(f"  - and {len(summary['missing']) - _SHOWN} more, in free_energy.html")
    for sentence in summary["notes"]:
        click.echo(sentence)
    click.echo(f"wrote {result.folder}/: {summary['file']}, metropolised.npz, free_energy.html, summary.json")
