"""free_energy.html of exact chains: populations, errors, what is missing, and plain MD beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.molecule.torsions import torsion_name
from latentmd.report import figures
from latentmd.report import page as report
from latentmd.report.markup import bullets, table
from latentmd.report.viewer import View
from latentmd.sampling.metropolis.conformers import conformer_section
from latentmd.sampling.metropolis.plain_md import Control
from latentmd.sampling.metropolis.populations import RAREST, Populations, apart_words
from latentmd.sampling.metropolis.segments import PAGE
from latentmd.sampling.metropolis.settings import ChainsRun
from latentmd.sampling.metropolis.wells import symmetric_names
from latentmd.sampling.run.stopping import RunResult
from latentmd.units import KILOCALORIE, format_time, percent, thermal_energy

_BINS = 40  # bins of a surface along each axis
_PAIRS = 12  # most surfaces over torsions
_SHOWN = 12  # most sentences about what is missing, in a terminal


def torsion_pairs(names: Sequence[str], angles: Floats) -> list[tuple[int, int]]:
    """Columns of torsions to draw: (phi, psi) of up to twelve residues, or the two torsions that move most."""
    column = {name: i for i, name in enumerate(names)}
    backbone = [(i, column["psi" + n[3:]]) for n, i in column.items() if n[:3] == "phi" and "psi" + n[3:] in column]
    if backbone or len(names) < 2:
        return backbone[:_PAIRS]
    first, second = sorted(np.argsort(np.abs(np.exp(1j * angles).mean(axis=0)))[:2].tolist())
    return [(first, second)]


def surface_figures(names: Sequence[str], angles: Floats, temperature: float) -> list[tuple[bytes, str]]:
    """Free-energy surfaces in kcal/mol over pairs of torsions (frames, torsions): PNG images with their captions."""
    edges, drawn = np.linspace(-180, 180, _BINS + 1), []
    for a, b in torsion_pairs(names, angles):
        counts = np.histogram2d(np.rad2deg(angles[:, a]), np.rad2deg(angles[:, b]), bins=[edges, edges])[0]
        first, second = figures.symbol(names[a]), figures.symbol(names[b])
        made, axes = figures.figure(1, 1, width=4.6, height=3.3)
        figures.plane(axes[0], counts, ("", f"{first} / degrees", f"{second} / degrees"), temperature)
        drawn.append((figures.png(made), f"{first} and {second}"))
    return drawn


VIEWED = 40  # frames in the 3-D view
UNKNOWN = "not known"
_AGREED = "Yes, as far as the chains can tell: they agree, and every population is known as well as was wanted."
_DIFFERENT = "Not yet; numbers below are provisional. This is missing:"
_MOST = 6  # things that are missing, named first
_GO_ON = "To go on: the same line with --resume, and a longer --wall"
STATES = (
    "Share of all frames in each well of each torsion, with the standard error by the effective number of independent "
    "samples of that well. Wells are cut where a torsion's density, all frames together, is least; what is less than a "
    f"barrier of kT apart is one well. Wells below {percent(RAREST)} or above {percent(1 - RAREST)} are shown but need "
    "not be precise."
)
_OTHERS: tuple[str, ...] = ("metropolised.npz", "biased.xtc", "weights.txt", "jumps.csv", "system.xtc")
_OTHERS += ("free_energy.html", "summary.json", "conformers.sdf")  # files of a run that are told of, in this order
_EQUAL = "All frames of the chains at the coldest temperature, each with the same weight."
_NOT_SAMPLED = "What the moves leave as it is at the start"
_RATES = (
    "Mean first-passage times from {bursts} bursts of 20 ps of plain MD at a friction of 1/ps, which start from "
    "structures of the chains: a reversible Markov model of cells with a lag of 2 ps and the populations of the "
    "chains. Errors come from resampling the bursts. Trust a time as far as it stays the same at twice the lag."
)
_NO_RATES = f"None: no well has a population from {percent(RAREST)} to {percent(1 - RAREST)}."
_PLAIN = (
    "Plain MD of {time} in all, for {share} of the energies that the chains evaluated, from the minimised "
    "structure with a friction of 1/ps. Its effective samples are extrapolated in proportion to its cost, and "
    "counted by correlations, and by passages into a well and out of it where these say less."
)


def write_metropolis_page(
    run: ChainsRun, angles: Floats, positions: Floats, *, found: Populations, beside: Control | None,
    summary: dict[str, Any], pictures: bool,
) -> None:  # fmt: skip
    """Write the page of exact chains into the run's folder, whole or not at all.

    Angles (chains, frames, torsions) in radians and positions (chains, frames, atoms, 3) in nm are those of kept
    frames; surfaces and structures are drawn where there is time for `pictures`.
    """
    missing, temperature = summary["missing"], summary["temperature"]
    more = [f"And {len(missing) - _MOST} more, in summary.json under `missing`"] if len(missing) > _MOST else []
    said = [*missing[:_MOST], *more, *([_GO_ON] if missing else []), *summary["notes"]]
    sections = [
        report.Section("Can these numbers be trusted?", _DIFFERENT if missing else _AGREED, bullets(said)),
        report.Section("States", STATES, states_table(found, temperature) + bullets(remarks(found))),
    ]
    if run.molecule.ligand:
        sections.insert(1, conformer_section(run, found, angles))
    if pictures:
        names = [torsion_name(run.molecule.topology, quad) for quad in run.quads.tolist()]
        drawn = surface_figures(names, angles[..., : len(names)].reshape(-1, len(names)), temperature)
        sections.append(report.Section("Free-energy surfaces", _EQUAL, figures=drawn))
    if beside is not None:
        text = _PLAIN.format(time=format_time(beside.time), share=percent(beside.share))
        sections.append(report.Section("Plain MD beside it", text, _plain(found, beside, summary)))
    if summary["bursts"] or not len(found.counted):
        text = _RATES.format(bursts=summary["bursts"]) if summary["bursts"] else _NO_RATES
        sections.append(report.Section("Rates", text, _rates(summary)))
    sections += [report.Section("What the run did", _promise(summary), _work(summary))]
    lead = f"{run.folder.name}: exact chains, {state_words(summary)}, {summary['frames']} frames, {temperature:g} K"
    shown = viewed(positions)
    view = View(run.molecule.topology, [("at equilibrium", shown, np.arange(len(shown), dtype=np.float64))])
    report.write_page(run.folder / PAGE, "Free energies", lead, sections, view if pictures else None)


def viewed(positions: Floats) -> Floats:
    """Some frames (frames, atoms, 3) of chains (chains, frames, atoms, 3), drawn at random, for the 3-D view."""
    flat = positions.reshape(-1, *positions.shape[2:])
    even = np.full(len(flat), 1 / len(flat))
    rows = np.random.default_rng(0).choice(len(flat), min(VIEWED, len(flat)), replace=False, p=even)
    return flat[np.sort(rows)]


def states_table(found: Populations, temperature: float) -> str:
    """Populations and free energies of all wells of torsions with several."""
    kt, errors = thermal_energy(temperature) / KILOCALORIE, found.logit_errors
    rows = []
    for i, well in enumerate(found.wells):
        share = found.values[i]
        if not well.only:
            energy = f"{-kt * np.log(share / (1 - share)):.2f} ± {kt * errors[i]:.2g}" if 0 < share < 1 else UNKNOWN
            rows.append((well.name, found.share(i), energy, f"{found.effective[i]:.0f}"))
    return table(("state", "population", "free energy (kcal/mol, ± standard error)", "effective samples"), rows)


def state_words(summary: dict[str, Any]) -> str:
    """Whether a run is converged, from its summary.json; rings of which one shape was seen are excepted in words."""
    if summary["missing"]:
        return "not converged"
    return "converged" + (" but for rings, of which one shape was seen" if summary["rings_in_one_shape"] else "")


def told(result: RunResult) -> list[str]:
    """A few lines about finished exact chains."""
    summary = result.summary
    taken, effective = summary["accepted"].get("draw"), summary["effective_samples"]
    moves = f"{percent(taken, 1)} of the drawn torsions accepted" if taken is not None else "no torsion to draw"
    least = "no well from 1 to 99 %" if effective is None else f"at least {effective:.0f} effective samples of a state"
    beside = [] if summary["plain_md"] is None else [verdict(summary["plain_md"])]
    return states_told(result, [f"{summary['frames']} frames of equal weight, {least}; {moves}", *beside])


def states_told(result: RunResult, lines: list[str]) -> list[str]:
    """Populations of a finished run, what is missing and what was written, behind lines of its own."""
    summary, missing = result.summary, result.summary["missing"]
    for name, population in summary["populations"].items():
        low, high = population["degrees"]
        if high - low < population["period"]:
            lines.append(f"  {name}: population {population['in_words']}")
    lines += [f"  {sentence}" for sentence in summary["remarks"]]
    lines.append(state_words(summary) + (":" if missing else ""))
    lines += [f"  - {sentence}" for sentence in missing[:_SHOWN]]
    if len(missing) > _SHOWN:
        lines.append(f"  - and {len(missing) - _SHOWN} more, in free_energy.html")
    files = ", ".join([summary["file"], *(name for name in _OTHERS if (result.folder / name).exists())])
    return [*lines, *summary["notes"], f"wrote {result.folder}/: {files}"]


def remarks(found: Populations) -> list[str]:
    """Sentences beside the table of states: torsions with one well, symmetric torsions, and mirror images."""
    wells = found.wells
    once = [f"{well.name}: {found.share(i)}" for i, well in enumerate(wells) if well.only and not well.turn.ring]
    said = [f"Torsions with one well: {'; '.join(once)}"] if once else []
    if found.rings_in_one_shape:
        rings = ", ".join(found.rings_in_one_shape)
        said.append(
            f"Rings that kept their shape in all frames, of which moves propose the mirror image at most: {rings}"
        )
    said += [f"Symmetric, {sentence}" for sentence in symmetric_names([well.turn for well in wells])]
    pairs = [
        f"{wells[i].name} {found.share(i)} and {wells[j].name} {found.share(j)}, {apart_words(apart)}"
        for i, j, apart in found.mirrored
        if not wells[i].only
    ]
    if pairs:
        said.append(f"Mirror images, equal in an achiral molecule such as this: {'; '.join(pairs)}")
    return said


def _rates(summary: dict[str, Any]) -> str:
    def time(value: float | None, error: float | None) -> str:
        return UNKNOWN if value is None else f"{_plain_number(value, 3)} ± {_plain_number(error, 2)}"

    if not summary["first_passage_ps"]:
        return ""
    rows = []
    for name, found in summary["first_passage_ps"].items():
        into, out, twice = found["into"], found["out"], found["twice_the_lag"]
        both = ", ".join(UNKNOWN if t is None else _plain_number(t, 3) for t in twice)
        rows.append((name, time(*into), time(*out), both))
    return table(("state", "time to get in (ps)", "time to get out (ps)", "both at twice the lag (ps)"), rows)


def _plain_number(value: float | None, digits: int) -> str:
    """A number with so many digits and no power of ten, such as 1,230."""
    short = f"{value:.{digits}g}"
    return f"{float(short):,.0f}" if "e+" in short else short


def _plain(found: Populations, beside: Control, summary: dict[str, Any]) -> str:
    rows = []
    for i in found.counted.tolist():
        share, seen = beside.found.values[i], 0 < beside.found.values[i] < 1
        said = f"{100 * share:.3g} %" if seen else f"{percent(share)}: never {'left' if share else 'seen'}"
        # no passage in a tenth of the cost does not say how few there would be
        equal = [f"{n:.0f}" if n else "no passage seen" for n in (beside.by_energies[i], beside.by_wall[i])]
        rows.append((found.wells[i].name, found.share(i), said, f"{found.effective[i]:.0f}", *equal))
    counted = ("effective samples of the chains", "of plain MD with as many energies", "of plain MD in the same time")
    return table(("state", "exact chains", "plain MD", *counted), rows) + bullets([verdict(summary["plain_md"])])


def verdict(plain: dict[str, Any]) -> str:
    """One sentence that says whether plain MD would have been the better choice."""
    ours, theirs = plain["least_of_chains"], plain["least_at_equal_wall_time"]
    if not ours:
        return "No state to compare with plain MD: no well has a population from 1 to 99 %."
    known = f"{ours['effective_samples']:.0f} effective samples of the state that they know least ({ours['state']})"
    if not theirs["effective_samples"]:
        return f"The chains have {known}; plain MD saw no passage of {theirs['state']} in the time that it had."
    other = f"{theirs['effective_samples']:.0f} of its own ({theirs['state']})"
    better = ours["effective_samples"] >= theirs["effective_samples"]
    advice = "" if better else ": --mode md is the better choice for this molecule"
    return f"The chains have {known}; plain MD would have {other} after the same time{advice}."


def _promise(summary: dict[str, Any]) -> str:
    rungs = ", ".join(f"{t:g}" for t in summary["temperatures"])
    return (
        f"Guaranteed: {summary['guarantees']}. What remains: {summary['remains']}. {summary['chains']} ladders of "
        f"{rungs} K, {summary['sweeps']:,} sweeps each, {summary['energies_evaluated']:,} energies evaluated, pilot "
        f"included; first kernels from: {summary['kernels']}. {_NOT_SAMPLED}: {'; '.join(summary['not_sampled'])}."
    )


def _work(summary: dict[str, Any]) -> str:
    taken = [(name, percent(share, 1)) for name, share in summary["accepted"].items()]
    spent = [(name, f"{seconds:.1f} s") for name, seconds in summary["wall_seconds"].items()]
    blocks = [
        (name, str(tried), percent(accepted, 2), percent(jumped, 2))
        for name, tried, accepted, jumped in sorted(summary["blocks"], key=lambda row: -row[1])
    ]
    return (
        table(("moves", "accepted"), taken)
        + table(("wall time", ""), spent)
        + table(
            ("block (numbers of torsions; atoms of rings and amines)", "tried", "accepted", "changed a well"), blocks
        )
    )
