"""free_energy.html of Metropolis chains: populations of sets of torsions, their errors, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.report import page as report
from latentmd.report.markup import bullets, table
from latentmd.report.viewer import View
from latentmd.sampling.hybrid.folder import PAGE
from latentmd.sampling.hybrid.page import UNKNOWN, VIEWED
from latentmd.sampling.hybrid.surfaces import (
    WeightedFrames,
    surface_figures,
    torsion_name,
    torsion_pairs,
    torsion_words,
)
from latentmd.units import KILOCALORIE, thermal_energy

if TYPE_CHECKING:
    from latentmd.sampling.metropolis.populations import Populations, Samples
    from latentmd.sampling.request import HybridRun


_AGREED = "Yes, as far as the chains can tell: they agree, and every population is known as well as was wanted."
_DIFFERENT = "Not yet; numbers below are provisional. This is missing:"
_CHAINS = "Sets of torsions (k-means), with standard errors by the effective number of independent samples."
_EQUAL = "All frames of the chains, each with the same weight."


def write_metropolis_page(
    run: HybridRun, sampled: Samples, found: Populations, positions: Floats, summary: dict[str, Any]
) -> None:
    """Write the page of Metropolis chains into the run's folder, whole or not at all.

    Args:
        run: the request and the engine.
        sampled: by the chains.
        found: populations.
        positions: nm, shape (chains, sweeps, atoms, 3).
        summary: content of summary.json.
    """
    frames = frames_of_chains(run, sampled, found)
    missing, temperature = summary["missing"], summary["temperature"]
    kt = thermal_energy(temperature) / KILOCALORIE
    rows = []
    for index, (name, known) in enumerate(summary["populations"].items()):
        share, error = known["value"], known["standard_error"]
        energy = UNKNOWN
        if 0 < share < 1:
            energy = f"{-kt * np.log(share / (1 - share)):.2f} ± {kt * error / (share * (1 - share)):.2g}"
        rows.append((name, torsion_words(frames, index), f"{share:.3g} ± {error:.2g}", energy))
    sets = table(("set", "where", "population", "free energy (kcal/mol, ± standard error)"), rows)
    taken = [(name, f"{share:.1%}") for name, share in summary["accepted"].items()]
    spent = [(name, f"{seconds:.1f} s") for name, seconds in summary["wall_seconds"].items()]
    work = table(("moves", "accepted"), taken) + table(("wall time", ""), spent)
    promise = f"Guaranteed: {summary['guarantees']}. What remains: {summary['remains']}."
    sections = [
        report.Section("Can these numbers be trusted?", _AGREED if not missing else _DIFFERENT, bullets(missing)),
        report.Section("Sets of torsions", _CHAINS, sets),
        report.Section("Free-energy surfaces", _EQUAL, figures=surface_figures(frames, temperature)),
        report.Section("What the run did", promise, work),
    ]
    state = "converged" if not missing else "not converged"
    lead = f"{run.folder.name}: Metropolis chains, {state}, {summary['frames']} frames, {temperature:g} K"
    view = View(run.engine.molecule.topology, frames.drawn_by_state(list(positions), VIEWED))
    report.write_page(run.folder / PAGE, "Free energies", lead, sections, view if view.sets else None)


def frames_of_chains(run: HybridRun, sampled: Samples, found: Populations) -> WeightedFrames:
    """Frames of Metropolis chains, which weigh the same and have no slow coordinates.

    Args:
        run: the request and the engine.
        sampled: by the chains.
        found: populations.
    """
    chains, sweeps = sampled.energies.shape
    angles, weight = sampled.angles.reshape(chains * sweeps, -1), np.full(chains * sweeps, 1 / (chains * sweeps))
    names = tuple(torsion_name(run.engine.molecule.topology, quad) for quad in run.engine.quads.tolist())
    place = np.column_stack([np.repeat(np.arange(chains), sweeps), np.tile(np.arange(sweeps), chains)])
    sets = tuple(f"set {i + 1}" for i in range(len(found.values)))
    pairs = torsion_pairs(names, angles, weight)
    return WeightedFrames(
        torsions=angles, names=names, pairs=pairs, slow=np.zeros((len(weight), 0)), weight=weight,
        state=found.sets.ravel(), states=sets, place=place,
    )  # fmt: skip
