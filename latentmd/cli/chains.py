"""Text for the terminal about exact chains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from latentmd.sampling.metropolis.settings import ChainsResult


def show_chains(result: ChainsResult) -> None:
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
