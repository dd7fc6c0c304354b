"""Evaluation of a whole surrogate, on one whose process is known, and of a surrogate's reach over wall time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latentmd.evaluation.inputs import EvaluationSettings
from latentmd.evaluation.model import (
    AccuracyCurve,
    accuracy_curve,
    accuracy_section,
    default_step,
    evaluate_model,
    store_metrics,
)
from latentmd.model.file import load


@pytest.fixture(scope="session")
def ou_runs(ou_bundle, tmp_path_factory):
    """Two training and two held-out .npy runs at 5 ps, drawn from the surrogate itself: a perfect reference."""
    from latentmd.model.propagator import Propagator

    propagator = Propagator(ou_bundle, "cpu")
    folder = tmp_path_factory.mktemp("ou-runs")
    rng = np.random.Generator(np.random.Philox(5))
    start = np.asarray(propagator.template.bond_mean)  # loads the template before anything is timed
    assert len(start) == 21
    import mdtraj

    (folder / "top.pdb").write_text(propagator.manifest.topology)
    frame = mdtraj.load(str(folder / "top.pdb")).xyz
    path = propagator.rollout(propagator.encode(np.repeat(frame, 4, axis=0)), 5.0, 1500, rng)
    positions = np.stack([propagator.decode(slow, rng) for slow in path], axis=1).astype(np.float32)
    for run in range(4):
        np.save(folder / f"run-{run}.npy", positions[run, 100:])
    return folder


def test_a_surrogate_matches_its_own_process(ou_bundle, ou_runs, tmp_path, monkeypatch):
    monkeypatch.setattr("latentmd.evaluation.model._TRAINING_SECONDS", 0.0)
    monkeypatch.setattr("latentmd.evaluation.model._ENERGY_FRAMES", 300)
    monkeypatch.setattr("latentmd.evaluation.rollouts.DECODED_FRAMES", 100)
    monkeypatch.setattr("latentmd.evaluation.frames.CONTROL_FRAMES", 100)
    runs = [ou_runs / f"run-{i}.npy" for i in range(4)]
    settings = EvaluationSettings(
        lag=50.0, interval=5.0, baselines=("shuffled", "koopman", "tica-flow", "replicate"),
        frames=2000, walkers=8, step=10.0, seeds=2,
    )  # fmt: skip
    result = evaluate_model(ou_bundle, runs[2:], runs[:2], out=tmp_path, settings=settings)
    values = {m.name: m for m in result.metrics}
    assert values["torsion error of decode(encode(x)), worst"].value < 0.01
    assert values["heavy-atom RMSD of decode(encode(x))"].value < 0.01
    assert values["linear probe R2 of torsions, slow axes, worst"].value > 0.5
    assert values["JS distance, (phi, psi)"].value < 2 * values["JS distance, (phi, psi)"].floor
    checks = values["frames, all checks"]
    assert checks.value == pytest.approx(checks.reference, abs=0.03)
    rho = np.exp(-10 / 50)
    gain = values["gain over persistence, lag 10 ps"].value
    assert gain == pytest.approx(1 - (1 - rho**2) / (2 - 2 * rho), abs=0.05)
    assert 0 <= values["decoded frames in MD's energy range after relaxation"].value <= 1
    phi = values["JS distance, (phi, psi)"]
    assert phi.seeds is not None and len(phi.seeds) == 2 and phi.seeds[0] == phi.value != phi.seeds[1]
    assert phi.seeds[1] == pytest.approx(phi.value, rel=0.3)
    slow = values["slowest implied timescale, lag 50 ps"]
    assert slow.seeds is not None and slow.seeds[0] == pytest.approx(slow.value)
    # The reference is thinned to the step for kinetics; its distributions keep all frames.
    assert phi.note.startswith("floors: 1400 frames") and phi.floor_independent < phi.floor
    document = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(document["baselines"]) == {"shuffled", "koopman", "tica-flow", "replicate"}
    assert set(document["accuracy"]["curves"]) == {"surrogate", "plain MD"}
    by_name = {b: {m.name: m.value for m in rows} for b, rows in result.baselines.items()}
    assert by_name["koopman"]["JS distance, (phi, psi)"] > values["JS distance, (phi, psi)"].value
    assert "Time to accuracy" in (tmp_path / "evaluation.html").read_text()
    copy = tmp_path / "copy.pt"
    copy.write_bytes(ou_bundle.read_bytes())
    store_metrics(copy, result)
    stored = load(copy).manifest.metrics["JS distance, (phi, psi)"]
    assert stored["value"] == pytest.approx(values["JS distance, (phi, psi)"].value) and stored["floor"] > 0


def test_refusals(ou_bundle, ou_runs, tmp_path):
    runs = [ou_runs / f"run-{i}.npy" for i in range(4)]
    with pytest.raises(ValueError, match="--train"):
        evaluate_model(ou_bundle, runs, settings=EvaluationSettings(interval=5.0))
    with pytest.raises(ValueError, match="no baseline is called 'magic'"):
        evaluate_model(ou_bundle, runs, runs, settings=EvaluationSettings(interval=5.0, baselines=("magic",)))


def test_default_step_divides_the_lag():
    assert default_step((10.0, 200.0), 100.0, 1.0) == 20.0
    assert default_step((5.0, 50.0), 50.0, 5.0) == 10.0
    with pytest.raises(ValueError, match="no step"):
        default_step((60.0, 90.0), 100.0, 1.0)


def test_time_to_accuracy_is_when_both_errors_stay_low():
    seconds = np.arange(1.0, 6.0)
    curve = AccuracyCurve(seconds, np.array([0.5, 0.05, 0.2, 0.05, 0.04]), np.array([1, 0.1, 0.1, 0.5, 0.1]))
    assert curve.time_to() == 5.0
    assert AccuracyCurve(seconds, np.full(5, 0.01), np.zeros(5)).time_to() == 1.0
    assert AccuracyCurve(seconds, np.full(5, 0.5), np.zeros(5)).time_to() == np.inf


def test_curve_of_independent_samples_falls_with_their_number():
    rng = np.random.default_rng(0)

    def draw(n):
        phi = rng.choice([-1.5, 1.0], n, p=[0.8, 0.2]) + rng.normal(0, 0.2, n)
        return np.stack([phi, rng.normal(0, 0.5, n)], axis=1)

    runs, reference = [draw(5000) for _ in range(4)], [draw(50_000)]
    curve = accuracy_curve(runs, (0, 1), reference, frame_seconds=0.01, kelvin=302.0)
    assert curve.seconds[-1] == pytest.approx(20_000 * 0.01)
    assert curve.js[-1] < 0.3 * curve.js[0]
    assert curve.free_energy[-1] < 0.05


def test_the_caption_says_when_the_targets_are_reached() -> None:
    seconds = np.array([1.0, 10.0, 100.0])
    good = AccuracyCurve(seconds, np.array([0.5, 0.05, 0.02]), np.array([np.inf, 0.2, 0.1]))
    bad = AccuracyCurve(seconds, np.array([0.5, 0.4, 0.3]), np.array([1.0, 0.9, 0.8]))
    section = accuracy_section({"surrogate": good, "plain MD": bad}, 30.0)
    ((image, caption),) = section.figures
    assert image.startswith(b"\x89PNG") and "surrogate 10 s" in caption and "plain MD never" in caption
    assert "30 s" in section.text


def test_a_basin_that_no_set_visits_leaves_an_empty_panel() -> None:
    never = AccuracyCurve(np.array([1.0, 2.0]), np.array([0.5, 0.4]), np.full(2, np.inf))
    ((image, caption),) = accuracy_section({"surrogate": never}, 0.0).figures
    assert image.startswith(b"\x89PNG") and "surrogate never" in caption
