"""`--exactness metropolised`: what it leaves, that it goes on where it ended, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.sampling.engine import MoleculeEngine
from latentmd.sampling.errors import RunInterrupted
from latentmd.sampling.levels import hybrid
from latentmd.sampling.metropolis import populations as populations_module
from latentmd.sampling.metropolis import run as chains
from latentmd.sampling.metropolis.run import check_suitable, is_review
from latentmd.sampling.request import HybridSettings

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"
SMALL = HybridSettings(interval=0.1, burst=2.0, relaxation=0.2, lag=0.3, starts=4, cells=20, surrogate=False, hot=False)


def run(out: Path, **options: Any) -> Any:
    settings = options.pop("settings", replace(SMALL, precision=1e9))
    return hybrid(ALANINE, out=out, processes=1, settings=settings, exactness="metropolised", seed=2, **options)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "SWEEPS", 12)
    monkeypatch.setattr(populations_module, "FEWEST_ACCEPTED", 1)
    monkeypatch.setattr(populations_module, "LARGEST_RATIO", 1e9)


def test_frames_have_equal_weights_and_the_energies_of_the_force_field(tmp_path: Path) -> None:
    result = run(tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary == result.summary and summary["exactness"] == "metropolised"
    assert result.status == "converged" and summary["missing"] == []
    frames = mdtraj.load(str(tmp_path / "run" / "metropolised.xtc"), top=str(tmp_path / "run" / "topology.pdb"))
    arrays = np.load(tmp_path / "run" / "metropolised.npz")
    assert len(frames) == summary["frames"] == len(arrays["energy"]) == 4 * 12
    np.testing.assert_allclose(arrays["weight"], 1 / 48)
    shares = [p["value"] for p in summary["populations"].values()]
    assert sum(shares) == pytest.approx(1.0) and shares == sorted(shares, reverse=True)
    assert arrays["energy"].mean() == pytest.approx(summary["mean_potential_energy"])
    page = (tmp_path / "run" / "free_energy.html").read_text()
    assert "Metropolis chains, converged" in page and "phi ALA2" in page


def test_a_stopped_run_goes_on_and_equals_the_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole")
    real, calls = chains.run_segment, iter(range(100))

    def broken(segment: Any) -> Any:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return real(segment)

    monkeypatch.setattr(chains, "run_segment", broken)
    with pytest.raises((KeyboardInterrupt, RunInterrupted)):
        run(tmp_path / "parts")
    assert len(list((tmp_path / "parts" / "metropolis").glob("segment-*.npz"))) == 5
    run(tmp_path / "parts", resume=True)
    one, two = (np.load(tmp_path / name / "metropolised.npz") for name in ("whole", "parts"))
    for name in one.files:
        np.testing.assert_array_equal(one[name], two[name])


def test_a_budget_ends_it_in_words(tmp_path: Path) -> None:
    result = run(tmp_path / "run", settings=replace(SMALL, precision=1e-9), wall=1.0)
    assert result.status == "budget"
    assert any("has a standard error of" in sentence for sentence in result.summary["missing"])
    assert "not converged" in (tmp_path / "run" / "free_energy.html").read_text()
    segments = result.summary["frames"]
    again = run(tmp_path / "run", settings=replace(SMALL, precision=1e-9), wall=1.0, resume=True)
    assert again.summary["frames"] == segments
    more = sum(result.summary["wall_seconds"].values()) + 3.0
    further = run(tmp_path / "run", settings=replace(SMALL, precision=1e-9), wall=more, resume=True)
    assert further.summary["frames"] > segments


def test_a_model_chooses_where_kernels_are(ou_bundle: Path, tmp_path: Path) -> None:
    settings = replace(SMALL, precision=1e9)
    plain, model = run(tmp_path / "plain"), run(tmp_path / "model", model=ou_bundle, settings=settings)
    assert model.summary["model"] is not None and plain.summary["model"] is None
    with np.load(tmp_path / "model" / "metropolis" / "centres.npz") as centres:
        assert 0 < centres["surrogate"] < len(centres["centres"])
    with np.load(tmp_path / "plain" / "metropolis" / "centres.npz") as centres:
        assert centres["surrogate"] == 0 and len(centres["centres"]) > 0


def test_chains_are_looked_at_less_and_less_often() -> None:
    assert [number for number in range(1, 30) if is_review(number)] == [2, 3, 5, 8, 12, 18, 27]


def test_unsuitable_molecules_are_refused(alanine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = MoleculeEngine.of(alanine, np.asarray(alanine.positions._value), 0.1, "Reference")
    check_suitable(engine)
    with pytest.raises(ValueError, match="has none that can turn: use --exactness reweighted"):
        check_suitable(replace(engine, quads=engine.quads[:0]))
    monkeypatch.setattr(chains, "MOST_ATOMS", 21)
    with pytest.raises(ValueError, match="beyond 21 atoms; this one has 22: use --exactness reweighted"):
        check_suitable(engine)
