"""Simulation with a model end to end, on a bundle with known answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

import latentmd
from latentmd.io.atomic import OutputError
from latentmd.io.provenance import read_provenance
from latentmd.model.file import BundleError
from latentmd.sampling.run.stopping import RunError, RunResult

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"
ALANINE = MOLECULES / "alanine_dipeptide.pdb"


@pytest.fixture(scope="module")
def alternating(ou_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    out = tmp_path_factory.mktemp("model") / "run"
    return latentmd.simulate(
        ALANINE, model=ou_bundle, time="600ps", walkers=3, cycle="200ps", save_every="50ps", burst="0.4ps", seed=3,
        out=out, processes=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def latent(ou_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    out = tmp_path_factory.mktemp("latent") / "run"
    return latentmd.simulate(
        ALANINE, model=ou_bundle, mode="latent", time="20ns", walkers=10, save_every="100ps", seed=3, out=out
    )


def test_frames_fall_on_the_times_asked_for(alternating: RunResult) -> None:
    assert len(alternating.trajectories) == 3
    for path in alternating.trajectories:
        trajectory = mdtraj.load(str(path), top=str(alternating.topology))
        assert np.allclose(trajectory.time, 50.0 * np.arange(1, 13), atol=1e-3)


def test_every_cycle_ends_with_md(alternating: RunResult) -> None:
    rows = read_provenance(alternating.folder / "provenance.csv")
    boundary = rows["time_ps"] % 200 == 0
    assert set(rows["kind"][~boundary]) == {"settled"}
    assert set(rows["kind"][boundary]) <= {"relaxed", "md"}
    assert np.all(np.isfinite(rows["potential_energy"]))
    assert alternating.summary["replaced_by_md"] == 0


def test_constrained_bonds_hold_in_every_frame(alternating: RunResult, alanine: Any) -> None:
    """Latent steps project onto the constraints and MD keeps them; XTC rounds to 0.001 nm."""
    system = alanine.system
    constraints = [system.getConstraintParameters(i) for i in range(system.getNumConstraints())]
    for path in alternating.trajectories:
        xyz = mdtraj.load(str(path), top=str(alternating.topology)).xyz
        for i, j, length in constraints:
            assert np.allclose(np.linalg.norm(xyz[:, i] - xyz[:, j], axis=-1), length._value, atol=1.8e-3)


def test_walkers_differ_and_seeds_repeat(alternating: RunResult, ou_bundle: Path, tmp_path: Path) -> None:
    again = latentmd.simulate(
        ALANINE, model=ou_bundle, time="200ps", walkers=2, cycle="200ps", save_every="50ps", burst="0.4ps", seed=3,
        out=tmp_path / "again", processes=1,
    )  # fmt: skip
    first, second = (mdtraj.load(str(p), top=str(again.topology)).xyz for p in again.trajectories)
    assert not np.allclose(first, second, atol=1e-2)
    if again.summary["platform"] == alternating.summary["platform"] == "Reference":
        for mine, theirs in zip(again.trajectories, alternating.trajectories[:2], strict=True):
            a, b = (mdtraj.load(str(p), top=str(again.topology)).xyz[:3] for p in (mine, theirs))
            assert np.allclose(a, b, atol=1e-3)


def test_summary_names_the_model_and_the_speed(alternating: RunResult, ou_bundle: Path) -> None:
    from latentmd.model.file import read_sha256

    summary = alternating.summary
    assert summary["model"]["sha256"] == read_sha256(ou_bundle)
    assert (summary["cycle_ps"], summary["burst_ps"], summary["seed"]) == (200.0, 0.4, 3)
    assert summary["simulated_ps"] == 1800.0
    assert summary["speed"]["over_plain_md"] > 0 and summary["speed"]["plain_md_ns_per_day"] > 0
    assert {"latent steps", "MD", "output"} <= summary["wall_seconds_per_process"].keys()


def test_latent_mode_samples_the_models_distribution(latent: RunResult) -> None:
    """phi and psi are Ornstein–Uhlenbeck with deviation 0.5; frames 100 ps apart are 87 % independent."""
    rows = read_provenance(latent.folder / "provenance.csv")
    assert set(rows["kind"]) == {"settled"} and len(rows["kind"]) == 2000
    phi = np.concatenate(
        [mdtraj.compute_phi(mdtraj.load(str(p), top=str(latent.topology)))[1][:, 0] for p in latent.trajectories]
    )
    centred = np.angle(np.exp(1j * phi) / np.mean(np.exp(1j * phi)))
    # standard error of a deviation from 1500 independent samples is 1.8 %; five of them
    assert np.std(centred) == pytest.approx(0.5, rel=0.09)


def test_latent_frames_do_not_depend_on_the_number_of_processes(
    latent: RunResult, ou_bundle: Path, tmp_path: Path
) -> None:
    again = latentmd.simulate(
        ALANINE, model=ou_bundle, mode="latent", time="20ns", walkers=10, seed=3, out=tmp_path / "again", processes=1
    )
    for path, other in zip(again.trajectories, latent.trajectories, strict=True):
        a, b = (mdtraj.load(str(p), top=str(again.topology)).xyz for p in (path, other))
        assert np.allclose(a, b, atol=1e-3)


def test_md_mode_uses_no_model(tmp_path: Path) -> None:
    result = latentmd.simulate(
        ALANINE, mode="md", time="1ps", save_every="0.5ps", walkers=1, temperature=300.0, out=tmp_path / "run"
    )
    assert result.summary["model"] is None and result.summary["protocol"]["temperature"] == 300.0
    with pytest.raises(ValueError, match="uses no model"):
        latentmd.simulate(ALANINE, mode="md", model="any.pt", out=tmp_path / "other")


def test_load_gives_a_propagator(ou_bundle: Path) -> None:
    model = latentmd.load(ou_bundle, "cpu")
    assert model.n_atoms == 22 and model.temperature == 350.0


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 300.0}, r"--temperature is 300 K; the model .* was trained at 350 K"),
    ({"save_every": "1ps", "time": "10ps"}, r"--save-every is 1 ps; the model's steps are 5 ps to 50 ps"),
    ({"save_every": "51.004ps", "time": "51.004ps", "burst": "49.004ps"}, "last latent step of a cycle would be 2 ps"),
    ({"solvent": "explicit"}, "cannot move the water"),
    ({"solvent": "vacuum"}, "trained in implicit solvent"),
    ({"force_field": ("amber99sbildn.xml", "amber99_obc.xml")}, "was trained with"),
    ({"cycle": "150ps"}, "--cycle is 150 ps; expected a multiple of --save-every"),
    ({"burst": "2ns"}, "--burst is 2 ns; expected less than the cycle"),
    ({"burst": "0.002ps"}, "--burst is 2 fs; expected less"),
    ({"burst": "1.002ps"}, "multiple of the time step"),
    ({"time": "150ps"}, "--time is 150 ps; expected a multiple of --save-every"),
    ({"mode": "fast"}, "--mode is 'fast'"),
    ({"walkers": 0}, "--walkers is 0"),
]


@pytest.mark.parametrize(("options", "reason"), REFUSALS, ids=[reason[:40] for _, reason in REFUSALS])
def test_refusals_write_nothing(ou_bundle: Path, tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        latentmd.simulate(ALANINE, model=ou_bundle, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_molecule_the_model_does_not_cover(ou_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not cover ALA-ALA-ALA"):
        latentmd.simulate(MOLECULES / "trialanine.pdb", model=ou_bundle, out=tmp_path / "run")
    with pytest.raises(ValueError, match=r"no bundled model covers .*latentmd md .*latentmd train"):
        latentmd.simulate(MOLECULES / "chignolin.pdb", mode="model", out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign"])
def test_bad_model_files_leave_an_earlier_run(ou_bundle: Path, tmp_path: Path, damage: str) -> None:
    data = bytearray(ou_bundle.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    bad = tmp_path / "bad.pt"
    bad.write_bytes({"truncated": data[:-100], "flipped": data, "foreign": b"PK\x03\x04 not a model" * 20}[damage])
    out = tmp_path / "run"
    out.mkdir()
    (out / "request.json").write_text('{"run": "walkers"}')
    (out / "summary.json").write_text("{}")
    with pytest.raises(BundleError, match=r"bad\.pt"):
        latentmd.simulate(ALANINE, model=bad, out=out, overwrite=True)
    assert (out / "summary.json").read_text() == "{}"


def test_a_run_without_frames_leaves_nothing(ou_bundle: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("the failure here is a missing CUDA device")
    for mode in ("latent", "model"):
        with pytest.raises(RunError, match="device is 'cuda', but torch sees no CUDA device"):
            latentmd.simulate(
                ALANINE, model=ou_bundle, mode=mode, walkers=1, device="cuda", time="100ps", out=tmp_path / "run"
            )
        assert list(tmp_path.iterdir()) == []


def test_a_filled_folder_is_refused(alternating: RunResult, ou_bundle: Path) -> None:
    with pytest.raises(OutputError, match="not empty"):
        latentmd.simulate(ALANINE, model=ou_bundle, out=alternating.folder)


@pytest.mark.slow
def test_the_main_command_anywhere(tmp_path: Path) -> None:
    """In a folder with a space and an umlaut, in the C locale, without a terminal and without a home to write to."""
    folder = tmp_path / "Ordner für Tests"
    folder.mkdir()
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(tmp_path / "none" / "none")}
    command = [sys.executable, "-P", "-m", "latentmd", "simulate", str(ALANINE), "--time", "1ns", "--walkers", "2"]
    (tmp_path / "none").write_text("")  # a file: no folder can be made there, whoever asks
    run = subprocess.run(
        [*command, "--out", "Läufe"], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=240,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert (folder / "Läufe" / "evaluation.html").exists()
