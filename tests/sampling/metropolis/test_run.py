"""`--mode chains`: what it leaves, that it goes on where it ended, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.sampling.errors import RunInterrupted
from latentmd.sampling.metropolis import kinetics, ladders, pilot
from latentmd.sampling.metropolis import populations as populations_module
from latentmd.sampling.metropolis import run as chains
from latentmd.sampling.metropolis.chains import chains as sample
from latentmd.sampling.metropolis.run import check_suitable, is_review
from latentmd.sampling.metropolis.settings import ChainsRequest

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"
ANYTHING, NOTHING = 1e9, 1e-9  # precisions in kT


def run(out: Path, precision: float = ANYTHING, **options: Any) -> Any:
    return sample(ALANINE, ChainsRequest(out, processes=1, precision=precision, seed=2, **options))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "SWEEPS", 10)
    monkeypatch.setattr(ladders, "DRAWN", 4)
    monkeypatch.setattr(ladders, "REPLICAS", 8)
    monkeypatch.setattr(pilot, "SWEEPS", (6, 6))
    monkeypatch.setattr(pilot, "SCATTER", 0.2)
    monkeypatch.setattr(populations_module, "LARGEST_RATIO", 1e9)
    monkeypatch.setattr(populations_module, "ENOUGH", 0)
    monkeypatch.setattr(kinetics, "STARTS", 16)
    monkeypatch.setattr(kinetics, "LENGTH", 5.0)


def test_frames_have_equal_weights_and_the_energies_of_the_force_field(tmp_path: Path) -> None:
    result = run(tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary == result.summary and summary["mode"] == "chains"
    assert result.status == "converged" and summary["missing"] == []
    frames = mdtraj.load(str(tmp_path / "run" / "metropolised.xtc"), top=str(tmp_path / "run" / "topology.pdb"))
    arrays = np.load(tmp_path / "run" / "metropolised.npz")
    assert len(frames) == summary["frames"] == len(arrays["energy"]) == summary["chains"] * 2
    np.testing.assert_allclose(arrays["weight"], 1 / len(frames))
    assert arrays["energy"].mean() == pytest.approx(summary["mean_potential_energy"])
    torsions = mdtraj.compute_dihedrals(frames, [[4, 6, 8, 10]])[:, 0]
    assert np.abs(np.cos(arrays["torsions"] - torsions[:, None]) - 1).min(axis=1).max() < 1e-3
    page = (tmp_path / "run" / "free_energy.html").read_text()
    assert (
        "exact chains, converged" in page
        and "phi ALA2" in page
        and "Plain MD beside it" in page
        and "time to get out" in page
    )
    assert summary["bursts"] == 32 and "psi ALA2 near 150°" in summary["first_passage_ps"]
    assert summary["kernels"] == "bundled model of peptides" and summary["plain_md"]["simulated_ps"] > 0


def test_energies_that_were_evaluated_are_counted(tmp_path: Path) -> None:
    summary = run(tmp_path / "run").summary
    rungs, replicas = len(summary["temperatures"]), summary["chains"] * len(summary["temperatures"])
    assert 8 - rungs < replicas / 2 <= 8
    step = 0.002  # ps, half the protocol's time step
    scatter = round(0.2 / step) + 200
    per_sweep = 40 + 2 + 4
    expected = replicas * (scatter + (6 + 6) * per_sweep + 2 + 2 * 10 * per_sweep + 2)  # the start of each stretch
    assert summary["energies_evaluated"] == expected


def test_a_stopped_run_goes_on_and_equals_the_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole")
    real, calls = chains.run_stretch, iter(range(100))

    def broken(stretch: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(stretch)

    monkeypatch.setattr(chains, "run_stretch", broken)
    with pytest.raises((KeyboardInterrupt, RunInterrupted)):
        run(tmp_path / "parts")
    assert len(list((tmp_path / "parts" / "metropolis").glob("segment-*.npz"))) == 3
    run(tmp_path / "parts", resume=True)
    one, two = (np.load(tmp_path / name / "metropolised.npz") for name in ("whole", "parts"))
    for name in one.files:
        np.testing.assert_array_equal(one[name], two[name])
    wells = [json.loads((tmp_path / name / "summary.json").read_text())["populations"] for name in ("whole", "parts")]
    assert wells[0] == wells[1] and all(len(well["degrees"]) == 2 for well in wells[0].values())


def test_a_budget_ends_it_in_words(tmp_path: Path) -> None:
    result = run(tmp_path / "run", NOTHING, wall=1.0)
    assert result.status == "budget"
    assert any("has a standard error of" in sentence for sentence in result.summary["missing"])
    assert "not converged" in (tmp_path / "run" / "free_energy.html").read_text()
    frames = result.summary["frames"]
    assert run(tmp_path / "run", NOTHING, wall=1.0, resume=True).summary["frames"] == frames
    more = 2 * result.summary["wall_seconds"]["total"] + 4.0  # three quarters of it are more than was used
    assert run(tmp_path / "run", NOTHING, wall=more, resume=True).summary["frames"] > frames


def test_a_model_chooses_the_first_kernels(ou_bundle: Path, tmp_path: Path) -> None:
    found = run(tmp_path / "model", model=str(ou_bundle)).summary
    assert found["model"] is not None and found["kernels"] == found["model"]


def test_chains_are_looked_at_less_and_less_often() -> None:
    assert [number for number in range(1, 30) if is_review(number)] == [2, 3, 5, 8, 12, 18, 27]


def test_unsuitable_molecules_are_refused(alanine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check_suitable(alanine)
    with monkeypatch.context() as rigid:
        rigid.setattr(chains, "can_turn", lambda topology: False)
        with pytest.raises(ValueError, match="has none that can turn: use --mode md"):
            check_suitable(alanine)
    monkeypatch.setattr(chains, "MOST_ATOMS", 21)
    with pytest.raises(ValueError, match="beyond 21 atoms; this one has 22: use --mode md"):
        check_suitable(alanine)
