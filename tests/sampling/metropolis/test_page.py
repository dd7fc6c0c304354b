"""The page of exact chains: frames of equal weight, and what it says."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from latentmd.arrays import Floats
from latentmd.sampling.metropolis.page import (
    remarks,
    state_words,
    surface_figures,
    torsion_pairs,
    verdict,
    viewed,
    write_metropolis_page,
)
from latentmd.sampling.metropolis.plain_md import Control
from latentmd.sampling.metropolis.populations import populations
from latentmd.sampling.metropolis.segments import PAGE
from latentmd.sampling.metropolis.wells import Turn, wells

RATES = {"into": [310.0, 20.0], "out": [None, None], "twice_the_lag": [305.0, None]}


@pytest.fixture
def chains(alanine: Any, tmp_path: Path) -> tuple[Any, Floats]:
    """A run with two chains of 60 frames whose phi is in one of two wells."""
    names = {(atom.residue.name, atom.name): atom.index for atom in alanine.topology.atoms()}
    phi = [names["ACE", "C"], names["ALA", "N"], names["ALA", "CA"], names["ALA", "C"]]
    psi = [names["ALA", "N"], names["ALA", "CA"], names["ALA", "C"], names["NME", "N"]]
    run = SimpleNamespace(folder=tmp_path, molecule=alanine, quads=np.array([phi, psi]))
    rng = np.random.default_rng(0)
    angles = np.where(rng.random((2, 60, 1)) < 0.25, 1.0, -1.4) + 0.1 * rng.standard_normal((2, 60, 2))
    return run, angles


@pytest.mark.parametrize("missing", [[], ["the chains do not agree"]])
def test_the_page_says_whether_numbers_can_be_trusted(chains: Any, missing: list[str]) -> None:
    run, angles = chains
    counted = wells([Turn("phi ALA2", 0), Turn("psi ALA2", 1, mirror=("psi ALA2", 0.0))], angles)
    found, plain = populations(angles, counted), populations(np.full((1, 60, 2), -1.4), counted)
    few = np.full(len(counted), 7.0)
    summary = {
        "missing": missing, "rings_in_one_shape": [], "notes": [], "temperature": 300.0, "frames": 120,
        "guarantees": "exact", "remains": "nothing",
        "first_passage_ps": {"phi ALA2 above 0": RATES}, "bursts": 32, "temperatures": [300.0, 424.0, 600.0],
        "chains": 2, "sweeps": 60, "energies_evaluated": 5000, "kernels": "none", "not_sampled": ["rings"],
        "accepted": {"draw": 0.5}, "wall_seconds": {"total": 12.0}, "blocks": [["draw phi", 100, 0.5, 0.25]],
        "plain_md": {
            "least_of_chains": {"effective_samples": 60.0, "state": "phi"},
            "least_at_equal_wall_time": {"effective_samples": 7.0, "state": "psi"},
        },
    }  # fmt: skip
    x = np.asarray(run.molecule.positions._value)
    positions = np.broadcast_to(x, (2, 60, 22, 3))
    beside = Control(plain, 100.0, share=0.1, by_energies=few, by_wall=few)
    write_metropolis_page(run, angles, positions, found=found, beside=beside, summary=summary, pictures=True)
    page = unescape(re.sub(r"<script.*?</script>", "", (run.folder / PAGE).read_text(), flags=re.S))
    assert ("not converged" in page) == bool(missing) and all(text in page for text in missing)
    assert all(well.name in page for well in counted) and "kcal/mol" in page
    assert "310 ± 20" in page and "300, 424, 600 K" in page and "never seen" in page and "50.0 %" in page


def test_rings_that_kept_their_shape_are_excepted() -> None:
    found = populations(np.full((2, 60, 1), 1.0), wells([Turn("ring", 0, staggered=True, ring=True)], np.ones((9, 1))))
    rings = found.rings_in_one_shape
    assert rings == ["ring g+"] and state_words({"missing": [], "rings_in_one_shape": []}) == "converged"
    assert state_words({"missing": [], "rings_in_one_shape": rings}).startswith("converged but for rings")
    assert state_words({"missing": ["more"], "rings_in_one_shape": rings}) == "not converged"
    assert remarks(found)[0].endswith("ring g+") and not any("95 %" in sentence for sentence in remarks(found))


@pytest.mark.parametrize(("theirs", "better"), [(7.0, False), (70.0, True)])
def test_the_verdict_says_when_plain_md_is_the_better_choice(theirs: float, better: bool) -> None:
    plain = {
        "least_of_chains": {"effective_samples": 60.0, "state": "a"},
        "least_at_equal_wall_time": {"effective_samples": theirs, "state": "b"},
    }
    assert ("--mode md is the better choice" in verdict(plain)) == better


def test_no_passage_is_not_extrapolated() -> None:
    plain = {
        "least_of_chains": {"effective_samples": 60.0, "state": "a"},
        "least_at_equal_wall_time": {"effective_samples": 0.0, "state": "b"},
    }
    assert verdict(plain).endswith("plain MD saw no passage of b in the time that it had.")


def test_phi_and_psi_come_first_else_what_moves_most() -> None:
    moving = np.random.default_rng(0).uniform(-3, 3, (100, 3)) * np.array([0.01, 1.0, 0.5])
    assert torsion_pairs(("psi ALA2", "chi", "phi ALA2"), moving) == [(2, 0)]
    assert torsion_pairs(("a", "b", "c"), moving) == [(1, 2)]
    assert torsion_pairs(("a",), moving[:, :1]) == []


def test_some_frames_are_viewed_in_their_order() -> None:
    positions = np.arange(100.0).reshape(2, 50, 1, 1) * np.ones((1, 1, 2, 3))
    shown = viewed(positions)
    assert shown.shape == (40, 2, 3) and (np.diff(shown[:, 0, 0]) > 0).all() and shown.max() > 50
    np.testing.assert_array_equal(viewed(positions[:, :4]), positions[:, :4].reshape(8, 2, 3))


def test_a_surface_for_each_pair() -> None:
    angles = np.random.default_rng(1).uniform(-3, 3, (100, 2))
    ((image, caption),) = surface_figures(("phi ALA2", "psi ALA2"), angles, 300.0)
    assert image.startswith(b"\x89PNG") and "φ ALA2 and ψ ALA2" in caption
