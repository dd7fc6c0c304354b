"""`--mode chains`: what it leaves, that it goes on where it ended, and what it refuses before anything is written."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.sampling.metropolis import ladders, pilot, plain_md, segments, settings
from latentmd.sampling.metropolis import populations as populations_module
from latentmd.sampling.metropolis import run as chains
from latentmd.sampling.metropolis.run import chains as sample
from latentmd.sampling.metropolis.run import review_from, unsuitable
from latentmd.sampling.metropolis.settings import ChainsRequest
from latentmd.sampling.run.stopping import RunInterrupted

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model": "nothing"}, "nothing: no such model file or bundled model"),
        ({"model": "peptides"}, "is one of many peptides; leave out --model"),
        ({"solvent": "explicit"}, "cannot move the water around it"),
        ({"temperature": -1.0}, "--temperature is -1 K"),
    ],
)
def test_refusals_write_nothing(options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        sample(MOLECULES / "alanine_dipeptide.pdb", ChainsRequest(out=tmp_path / "run", **options))
    assert not (tmp_path / "run").exists()


ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"
ANYTHING, NOTHING = 1e9, 1e-9  # precisions in kT


def run(out: Path, precision: float = ANYTHING, **options: Any) -> Any:
    return sample(ALANINE, ChainsRequest(out=out, processes=1, precision=precision, seed=2, **options))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "SWEEPS", 10)
    monkeypatch.setattr(segments, "SWEEPS", 10)
    monkeypatch.setattr(ladders, "DRAWN", 4)
    monkeypatch.setattr(ladders, "REPLICAS", 8)
    monkeypatch.setattr(pilot, "SWEEPS", (6, 6))
    monkeypatch.setattr(pilot, "_MANY", 1)
    monkeypatch.setattr(pilot, "SCATTER", 0.2)
    monkeypatch.setattr(populations_module, "LARGEST_RATIO", 1e9)
    monkeypatch.setattr(populations_module, "ENOUGH", 0)
    monkeypatch.setattr(plain_md, "STARTS", 16)
    monkeypatch.setattr(plain_md, "LENGTH", 5.0)


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

    with monkeypatch.context() as short_of_time:
        short_of_time.setattr(chains, "run_stretch", broken)
        short_of_time.setattr(settings, "_SEGMENT", 0.0)  # segments of 5 sweeps
        with pytest.raises((KeyboardInterrupt, RunInterrupted)):
            run(tmp_path / "parts")
    assert len(list((tmp_path / "parts" / "metropolis").glob("segment-*.npz"))) == 3
    run(tmp_path / "parts", resume=True)
    one, two = (np.load(tmp_path / name / "metropolised.npz") for name in ("whole", "parts"))
    for name in one.files:
        np.testing.assert_array_equal(one[name], two[name])
    wells = [json.loads((tmp_path / name / "summary.json").read_text())["populations"] for name in ("whole", "parts")]
    assert wells[0] == wells[1] and all(len(well["degrees"]) == 2 for well in wells[0].values())


@pytest.fixture
def unconverged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(populations_module, "ENOUGH", 10**9)


@pytest.mark.usefixtures("unconverged")
def test_a_budget_ends_it_in_words(tmp_path: Path, clock: Any) -> None:
    clock.tick = 0.25
    result = run(tmp_path / "run", NOTHING, wall=40.0, begun=clock.now)
    assert result.status == "budget"
    assert any("independent samples" in sentence for sentence in result.summary["missing"])
    assert "the wall time of 40 s was over; more with --resume and a longer --wall" in result.summary["notes"]
    page = (tmp_path / "run" / "free_energy.html").read_text()
    assert "not converged" in page and "the wall time of 40 s was over" in page
    again = run(tmp_path / "run", NOTHING, wall=40.0, resume=True, begun=clock.now - 40.0)  # nothing is left
    assert again.summary == result.summary and (tmp_path / "run" / "free_energy.html").read_text() == page
    more = run(tmp_path / "run", NOTHING, wall=80.0, resume=True, begun=clock.now)
    assert more.summary["frames"] > result.summary["frames"]


@pytest.mark.usefixtures("unconverged")
def test_without_any_time_there_are_frames_and_words_for_what_is_not_there(tmp_path: Path, clock: Any) -> None:
    clock.tick = 0.05
    result = run(tmp_path / "run", NOTHING, wall=5.0, begun=clock.now - 10.0)
    summary = result.summary
    assert result.status == "budget" and summary["frames"] == summary["chains"] and summary["sweeps"] == 5
    assert summary["plain_md"] is None and summary["first_passage_ps"] == {} and result.trajectories[0].exists()
    told = " ".join(summary["notes"])
    for words in ("no time for plain MD", "pilot had time for 0 of 12 sweeps", "no time for pictures"):
        assert words in told
    assert "no time for plain MD" in (tmp_path / "run" / "free_energy.html").read_text()


@pytest.mark.usefixtures("unconverged")
def test_a_run_that_is_asked_to_stop_leaves_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = chains.run_stretch

    def asked(stretch: Any) -> Any:
        if not signalled:
            signalled.append(signal.raise_signal(signal.SIGTERM))
        return real(stretch)

    signalled: list[None] = []
    monkeypatch.setattr(chains, "run_stretch", asked)
    with pytest.raises(RunInterrupted, match="--resume"):
        run(tmp_path / "run", NOTHING)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "interrupted" and summary["frames"] > 0 and summary["plain_md"] is None
    assert (tmp_path / "run" / "free_energy.html").exists()


def test_what_was_changed_in_the_molecule_is_among_the_notes(tmp_path: Path, alanine: Any) -> None:
    note = "12 hydrogens made 3 amu heavy"
    request = ChainsRequest(out=tmp_path / "run", processes=1, precision=ANYTHING, seed=2, temperature=350.0)
    found = sample(ALANINE, request, replace(alanine, notes=(note,)))
    assert found.summary["notes"] == [note] and note in (tmp_path / "run" / "free_energy.html").read_text()


def test_a_model_chooses_the_first_kernels(ou_bundle: Path, tmp_path: Path) -> None:
    found = run(tmp_path / "model", model=str(ou_bundle)).summary
    assert found["model"] is not None and found["kernels"] == found["model"]


def test_chains_are_looked_at_less_and_less_often() -> None:
    assert sorted({review_from(sweeps) for sweeps in range(271)}) == [20, 30, 50, 80, 120, 180, 270]
    assert review_from(50) == 50


def test_unsuitable_molecules_are_refused(alanine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unsuitable(alanine) == ""
    with monkeypatch.context() as rigid:
        rigid.setattr(chains, "can_turn", lambda topology: False)
        assert unsuitable(alanine).endswith("has none that can turn")
    monkeypatch.setattr(chains, "MOST_ATOMS", 21)
    with pytest.raises(ValueError, match="beyond 21 atoms; this one has 22: use --mode md"):
        run(tmp_path / "run")
