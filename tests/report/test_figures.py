"""Figures as PNG bytes."""

from __future__ import annotations

import mdtraj
import numpy as np
import pytest

from latentmd.analysis.kinetics import torsion_autocorrelation
from latentmd.report import figures

RNG = np.random.default_rng(0)


def _is_png(content: bytes) -> bool:
    return content.startswith(b"\x89PNG") and len(content) > 2000


def test_surfaces_with_empty_bins() -> None:
    counts = RNG.poisson(2, (50, 50)).astype(float)
    assert _is_png(figures.surfaces(counts, np.triu(counts), figures.ramachandran_bounds(), ("phi", "psi"), 300.0))


@pytest.mark.parametrize("torsions", [True, False])
def test_histograms_of_more_features_than_there_are_panels(torsions: bool) -> None:
    runs = [RNG.uniform(-3, 3, (100, 14))]
    assert _is_png(figures.histograms([f"f{i}" for i in range(14)], runs, runs, torsions))


def test_kinetics_without_anything_to_draw_is_nothing() -> None:
    assert figures.kinetics({}, 1.0, 10) is None
    runs = [RNG.uniform(-3, 3, 300)]
    curves = {"correlations": {"phi": (torsion_autocorrelation(runs, 20), torsion_autocorrelation(runs, 30))}}
    drawn = figures.kinetics(curves, 1.0, 10)
    assert drawn is not None and _is_png(drawn)


@pytest.mark.parametrize("name", ["chignolin", "alanine_dipeptide"])
def test_bundles_of_chains_and_of_small_molecules(name: str) -> None:
    loaded = mdtraj.load(f"systems/molecules/{name}.pdb")
    frames = loaded.xyz + RNG.normal(0, 0.01, (4, loaded.n_atoms, 3))
    assert _is_png(figures.bundles({"reference": frames, "generated": frames[:1]}, loaded.topology))


def test_energies() -> None:
    assert _is_png(figures.energies(None, RNG.normal(size=100), None))
    assert _is_png(figures.energies(RNG.normal(size=100), RNG.normal(size=100), (-1.0, 1.0)))


def test_torsions_have_greek_letters() -> None:
    names = ["phi ALA2", "psi GLY1", "chi12 LEU3", "torsion C1-C2-C3-C4"]
    assert [figures.symbol(name) for name in names] == ["φ ALA2", "ψ GLY1", "χ12 LEU3", "torsion C1-C2-C3-C4"]


def test_planes_begin_at_zero_and_leave_empty_bins_out() -> None:
    axes = figures.figure(1, 1)[1]
    figures.plane(axes[0], np.diag([4.0, 2.0, 0.0]), ("title", "x", "y"), 300.0)
    drawn = axes[0].images[0].get_array()
    assert np.nanmin(drawn) == 0 and np.isnan(np.ma.filled(drawn, np.nan)).sum() == 7
    assert axes[0].get_title() == "title" and axes[0].get_xlim() == (-180, 180)
