"""summary.json and free_energy.html in explicit water: populations, bias or jumps, and plain MD beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from openmm import app

from latentmd.analysis.metric import Document
from latentmd.analysis.statistics import effective_samples
from latentmd.arrays import Doubles, Floats, Ints
from latentmd.integrators.torsion_jumps import Jump
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions, torsion_name
from latentmd.report import page as report
from latentmd.report.markup import bullets, table
from latentmd.report.viewer import View
from latentmd.sampling.metropolis import page
from latentmd.sampling.metropolis.plain_md import independent
from latentmd.sampling.metropolis.populations import Populations, populations, unmet_criteria
from latentmd.sampling.metropolis.wells import Well
from latentmd.sampling.run.stopping import RunResult
from latentmd.units import format_time, percent, thermal_energy

GUARANTEES = (
    "Guaranteed: the Boltzmann distribution of the force field in water, by weights that take the bias out or by "
    "acceptance with the work of steering, as far as MD of the same time step has it right. What remains: statistical "
    "error, and torsions that are slow in a way that the pilot did not show. Times of such a run mean nothing."
)
_PRECISION = 0.25  # kT, as of exact chains
_AGREED = "Yes, as far as this run can tell: every population is known as well as was wanted."
_DIFFERENT = "Not yet; numbers below are provisional. This is missing:"
_JUMPS = (
    "A jump steers the torsions of one block while the water follows, and is accepted by the work and the proposals. A "
    "rare well is entered about as rarely as it is populated, however well steering goes. Work holds the free energy "
    "between both ends, wherever a jump was sent."
)
_BESIDE = "From the same start, as many steps of plain MD as the run took, steering too."


def equal_frames(weights: Doubles) -> Ints:
    """Indices of frames drawn by their weights at even steps, (sum w)^2 / sum w^2 of them; all of equal weights."""
    count = max(1, round(weights.sum() ** 2 / (weights**2).sum()))
    found = np.searchsorted(np.cumsum(weights) / weights.sum(), (np.arange(count) + 0.5) / count)
    return np.asarray(np.minimum(found, len(weights) - 1))


def weighted_populations(angles: Floats, cuts: Sequence[Well], weights: Doubles) -> Populations:
    """Populations in one run, torsions (frames, torsions), with weights (frames,) of a mean of 1.

    The population p = mean(w I) of a well has the variance of z = w (I - p) over the independent samples of z. So many
    frames without weights as would have that variance are its effective samples, or fewer: passages bound them.
    """
    runs, found = angles[None], populations(angles[None], cuts)
    values, effective = found.values.copy(), found.effective.copy()
    for i, well in enumerate(cuts):
        inside = well.inside(angles)
        share = values[i] = float(np.clip((weights * inside).mean(), 0.0, 1.0))
        if 0 < share < 1:
            z = weights * (inside - share)
            known = share * (1 - share) * effective_samples([z]) / float(np.mean(z**2))
            effective[i] = independent(runs, well, share, known)
    errors = np.sqrt(values * (1 - values) / np.maximum(effective, 1.0))
    return replace(found, values=values, effective=effective, errors=errors)


def block_counts(jumps: Sequence[Jump], kt: float) -> dict[str, dict[str, float]]:
    """Per block: jumps tried and accepted, mean probability to accept, length in ps, quantiles of the work in kT."""
    found = {}
    for name in sorted({jump.block for jump in jumps}):
        own = [jump for jump in jumps if jump.block == name]
        tenth, median = np.quantile([jump.work / kt for jump in own], [0.1, 0.5], method="lower").tolist()
        counts = {"tried": len(own), "accepted": sum(jump.accepted for jump in own), "length (ps)": own[-1].length}
        mean = float(np.mean([np.exp(jump.log_acceptance) for jump in own]))
        found[name] = {**counts, "mean acceptance": mean, "tenth of work (kT)": tenth, "median work (kT)": median}
    return found


def summary_of(found: Populations, beside: Populations | None, jumps: Sequence[Jump], temperature: float) -> Document:
    """What populations with jumps, and of plain MD beside them, say; samples are those of the state known least."""
    missing, rows = unmet_criteria(found, _PRECISION), found.counted
    least = [None if one is None or not len(rows) else float(one.effective[rows].min()) for one in (found, beside)]
    plain = None if beside is None else {"populations": beside.as_json(), "effective_samples": least[1]}
    said: Document = {"status": "budget" if missing else "converged", "missing": missing}
    said |= {"guarantees": GUARANTEES, "remarks": page.remarks(found), "temperature": temperature, "plain_md": plain}
    said |= {"populations": found.as_json(), "effective_samples": least[0]}
    blocks = block_counts(jumps, thermal_energy(temperature))
    return said | {"rings_in_one_shape": found.rings_in_one_shape, "blocks": blocks}


def told(result: RunResult) -> list[str]:
    """A few lines about a finished run."""
    return page.states_told(result, jump_lines(result.summary))


def jump_lines(summary: Document) -> list[str]:
    """Sentences on what the run did: its length, the jumps of each block, and plain MD at equal cost."""
    lines = [f"{summary['frames']} frames, {format_time(summary['simulated_ps'])} of force calls"]
    if summary["mode"] == "bias":
        lines[0] += f"; their weights are worth {percent(summary['evenness_of_weights'])} of them at equal weight"
    for name, one in summary["blocks"].items():
        lines.append(f"jumps of {name}: {one['accepted']} of {one['tried']} accepted, {one['length (ps)']:.3g} ps each")
    ours, plain = summary["effective_samples"], summary["plain_md"]
    if plain is not None and ours is None:
        lines.append("no state to compare with plain MD: no well has a population from 1 to 99 %")
    elif plain is not None:
        theirs = plain["effective_samples"]
        better = "" if ours > theirs else ": --mode md is the better choice for this molecule"
        known = f"{ours:.0f} effective samples of the state that is known least"
        lines.append(f"{known} with {summary['mode']}, {theirs:.0f} with plain MD of as many steps{better}")
    return lines


def write_jumps_page(
    path: Path,
    topology: app.Topology,
    positions: Floats,
    angles: Floats,
    *,
    summary: Document,
    found: Populations,
    beside: Populations | None,
) -> None:
    """Write the page, whole or not at all.

    Positions (frames, atoms, 3) in nm and rotatable torsions (frames, torsions) in radians are the solute's.
    """
    missing, kelvin, blocks = summary["missing"], summary["temperature"], summary["blocks"]
    names = [torsion_name(topology, quad) for quad in rotatable_torsions(*topology_arrays(topology)).tolist()]
    said, surfaces = bullets([*missing, *summary["notes"]]), page.surface_figures(names, angles, kelvin)
    sections = [
        report.Section("Can these numbers be trusted?", _DIFFERENT if missing else _AGREED, said),
        report.Section("States", page.STATES, page.states_table(found, kelvin) + bullets(summary["remarks"])),
        report.Section("Free-energy surfaces", "Frames of equal weight.", figures=surfaces),
    ]
    if blocks:
        rows = [(name, *(f"{value:.3g}" for value in one.values())) for name, one in blocks.items()]
        sections.append(report.Section("Jumps", _JUMPS, table(("block", *next(iter(blocks.values()))), rows)))
    if beside is not None:
        sections.append(report.Section("Plain MD beside it", _BESIDE, page.states_table(beside, kelvin)))
    spent = [(name, f"{seconds:.1f} s") for name, seconds in summary["wall_seconds"].items()]
    did = table(("torsion", "in the pilot"), list(summary["torsions"].items())) + table(("wall time", ""), spent)
    sections.append(report.Section("What the run did", GUARANTEES, bullets(jump_lines(summary)) + did))
    words = f"{summary['mode']}, {page.state_words(summary)}, {summary['frames']} frames, {kelvin:g} K"
    lead = f"{path.parent.name}: MD in water with {words}"
    shown = page.viewed(positions[None])
    view = View(topology, [("in water, not shown", shown, np.arange(len(shown), dtype=np.float64))])
    report.write_page(path, "Free energies", lead, sections, view)
