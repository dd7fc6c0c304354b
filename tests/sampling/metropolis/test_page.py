"""The page of Metropolis chains: frames of equal weight, and what it says."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from latentmd.sampling.hybrid.folder import PAGE
from latentmd.sampling.metropolis.page import frames_of_chains, write_metropolis_page
from latentmd.sampling.metropolis.populations import Samples, populations


@pytest.fixture
def chains(alanine: Any, tmp_path: Path) -> tuple[Any, Samples, Any]:
    """Two chains of 60 sweeps whose phi is in one of two basins; the molecule stands still."""
    names = {(atom.residue.name, atom.name): atom.index for atom in alanine.topology.atoms()}
    phi = [names["ACE", "C"], names["ALA", "N"], names["ALA", "CA"], names["ALA", "C"]]
    psi = [names["ALA", "N"], names["ALA", "CA"], names["ALA", "C"], names["NME", "N"]]
    run = SimpleNamespace(folder=tmp_path, engine=SimpleNamespace(molecule=alanine, quads=np.array([phi, psi])))
    rng = np.random.default_rng(0)
    angles = np.where(rng.random((2, 60, 1)) < 0.25, 1.0, -1.4) + 0.1 * rng.standard_normal((2, 60, 2))
    return run, Samples(rng.normal(size=(2, 60)), angles, (60, 300)), populations(angles, rng)


def test_frames_weigh_the_same(chains: Any) -> None:
    frames = frames_of_chains(*chains)
    assert frames.names == ("phi ALA2", "psi ALA2") and frames.pairs == ((0, 1),)
    np.testing.assert_allclose(frames.weight, 1 / 120)
    assert frames.place.tolist()[59:61] == [[0, 59], [1, 0]]
    shares = [frames.weight[frames.state == i].sum() for i in range(len(frames.states))]
    np.testing.assert_allclose(shares, chains[2].values)


@pytest.mark.parametrize("missing", [[], ["the chains do not agree"]])
def test_the_page_says_whether_numbers_can_be_trusted(chains: Any, missing: list[str]) -> None:
    run, samples, found = chains
    values = zip(found.values, found.errors, strict=True)
    summary = {
        "missing": missing, "temperature": 300.0, "frames": 120, "guarantees": "exact", "remains": "nothing",
        "populations": {f"set {i + 1}": {"value": v, "standard_error": e} for i, (v, e) in enumerate(values)},
        "accepted": samples.shares, "wall_seconds": {"total": 12.0},
    }  # fmt: skip
    x = np.asarray(run.engine.molecule.positions._value)
    write_metropolis_page(run, samples, found, np.broadcast_to(x, (2, 60, 22, 3)), summary)
    page = re.sub(r"<script.*?</script>", "", (run.folder / PAGE).read_text(), flags=re.S)
    assert ("not converged" in page) == bool(missing) and all(text in page for text in missing)
    assert "set 1" in page and "kcal/mol" in page and "phi ALA2" in page and "50.0%" in page
