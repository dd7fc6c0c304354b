"""Metrics of single frames."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.analysis.features import FeatureSet, StructureTotals
from latentmd.analysis.thermodynamics import energy_range, fraction_inside
from latentmd.evaluation import frames as single
from latentmd.evaluation.frames import energy_metrics, structure_metrics
from latentmd.molecule.checks import structure_template


def test_energies_inside_the_range_of_md() -> None:
    reference = np.arange(1001.0)
    rows = {m.name: m for m in energy_metrics(reference, np.array([500.0, 2000.0]))}
    inside = rows["frames in MD's 0.1 to 99.9 % of energies"]
    assert inside.value == 0.5 and inside.reference == pytest.approx(0.998, abs=1e-3)
    assert rows["mean potential energy"].value == 1250.0
    assert energy_metrics(None, reference) == [] and energy_metrics(reference, None) == []


def test_broken_frames_fail_their_checks() -> None:
    loaded = mdtraj.load("systems/molecules/alanine_dipeptide.pdb")
    good = loaded.xyz + np.random.default_rng(0).normal(0, 0.001, (40, *loaded.xyz.shape[1:]))
    template = structure_template(loaded.topology, good)
    mirrored = good * np.array([1.0, 1.0, -1.0])
    totals = StructureTotals()
    totals.add(np.concatenate([good[:30], mirrored[:10]]), template)
    own = FeatureSet((Path("a"),), [np.zeros((40, 1))], 1.0, good, totals)
    md = FeatureSet((Path("b"),), [np.zeros((40, 1))], 1.0, good, StructureTotals())
    rows = {m.name: m for m in structure_metrics(own, md, template)}
    assert rows["frames, stereocentres right"].value == 0.75 and rows["frames, stereocentres right"].reference == 1.0
    assert rows["frames, bond lengths valid"].value == rows["frames, bond lengths valid"].reference


@pytest.fixture(scope="module")
def vacuum():
    """Alanine dipeptide in vacuum at 350 K with 400 frames of MD, 0.5 ps apart."""
    from latentmd.systems.builder import Protocol, build
    from latentmd.systems.dynamics import MdSettings, run_md

    molecule = build("systems/molecules/alanine_dipeptide.pdb", Protocol(solvent="vacuum"))
    blocks = list(run_md(molecule, MdSettings(400, 0.5, seed=1, platform="Reference")))
    return molecule, np.concatenate([b.positions for b in blocks])


def test_relaxation_keeps_mds_own_frames_and_mends_strained_ones(vacuum):
    molecule, frames = vacuum
    context = molecule.context(molecule.langevin(1), "Reference")
    energies = single.engine_energies(context, frames)
    bounds, median = energy_range(energies), float(np.median(energies))
    strained = np.array(frames[::20], dtype=np.float64)
    strained[:10, 8, 0] += 0.05  # half an angstrom is far outside a bond's and angle's thermal range
    done = single.relax(context, molecule.protocol, strained, highest=bounds[1], target=median)
    assert done.minimised >= 10 and (done.before[:10] > bounds[1]).all()
    assert fraction_inside(done.before, bounds) <= 0.5
    assert fraction_inside(done.after, bounds) >= 0.9
    # No heat is taken out of frames that need no minimising: the mean stays that of MD.
    assert np.mean(done.after[10:]) == pytest.approx(np.mean(energies), abs=4 * np.std(energies) / np.sqrt(10))


def test_a_structure_that_the_engine_cannot_mend_counts_as_outside(vacuum):
    molecule, frames = vacuum
    context = molecule.context(molecule.langevin(1), "Reference")
    broken = np.array(frames[:3], dtype=np.float64)
    broken[1, 5] = broken[1, 4]  # two atoms in one place
    done = single.relax(context, molecule.protocol, broken, highest=np.inf, target=0.0)
    assert not np.isfinite(done.after[1]) or done.after[1] > 1e3
    assert np.isfinite(done.after[[0, 2]]).all()
    assert fraction_inside(done.after, (-1e3, 1e3)) == pytest.approx(2 / 3)


def test_rows_hold_a_control_and_say_where_frames_fall(vacuum, ou_bundle):
    from latentmd.model.propagator import Propagator

    molecule, frames = vacuum
    broken = np.array(frames[:4], dtype=np.float64)
    broken[:, 8, 0] += 0.05
    rows = single.engine_metrics(
        Propagator(ou_bundle, "cpu"), molecule.context(molecule.langevin(1), "Reference"), molecule.protocol,
        frames[:200], broken,
    )  # fmt: skip
    values = {m.name: m for m in rows}
    raw = values["decoded frames in MD's energy range as decoded"]
    assert raw.value == 0.0 and raw.reference > 0.97 and "0 below and 4 above of 4" in raw.note
    relaxed = values["decoded frames in MD's energy range after relaxation"]
    assert relaxed.low <= relaxed.value <= relaxed.high and "4 frames above it minimised" in relaxed.note
