"""Metrics of single frames."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.analysis.features import FeatureSet, StructureTotals
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
