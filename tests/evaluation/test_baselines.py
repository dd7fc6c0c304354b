"""Baselines on processes with known answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.analysis import features, msm
from latentmd.analysis.features import EvaluationError, FeatureSet, FeatureSpec, StructureTotals, feature_spec
from latentmd.analysis.reference import ReferenceModel
from latentmd.evaluation import baselines
from latentmd.evaluation.baselines import (
    TicaFlow,
    chosen_baselines,
    drawn_torsions,
    frame_baselines,
    table_histograms,
    training_runs,
)
from latentmd.evaluation.inputs import EvaluationSettings
from latentmd.evaluation.residue_table import ResidueTable
from latentmd.model.peptide_file import load_peptides
from latentmd.molecule.chain import SLOTS, chain
from latentmd.systems.bundled import bundled


@pytest.fixture
def hopping_runs():
    rng = np.random.default_rng(0)
    paths = []
    for _ in range(3):
        hops = rng.random(20_000) < 0.05
        paths.append(np.cumsum(hops) % 2)
    return [p[:, None] + rng.normal(0, 0.1, (len(p), 1)) for p in paths], paths


def test_msm_resampling_keeps_timescale_and_frames(hopping_runs):
    runs, paths = hopping_runs
    made = baselines.msm_resampling(runs, paths, 10, [15_000, 999], np.random.default_rng(1))
    assert [len(m) for m in made] == [15_000, 999]
    assert np.isin(made[0][:50, 0], np.concatenate(runs)[:, 0]).all()
    states = [(m[:, 0] > 0.5).astype(int) for m in made]
    scale = msm.fit_paths(states, 10, 2).timescales(10.0, 1)[0]
    assert scale == pytest.approx(-1 / np.log(0.9), rel=0.15)


def test_shuffled_and_persistent_frames(hopping_runs):
    runs, _ = hopping_runs
    rng = np.random.default_rng(2)
    shuffled = baselines.shuffled_frames(runs, 30_000, rng)[0]
    assert abs(np.corrcoef(shuffled[:-1, 0], shuffled[1:, 0])[0, 1]) < 0.03
    still = baselines.persistence(runs, [5, 7], rng)
    assert [len(s) for s in still] == [5, 7] and all(np.ptp(s) == 0 for s in still)


def test_replicate_is_cut_to_the_time_that_was_paid_for(hopping_runs):
    runs, _ = hopping_runs
    assert [len(r) for r in baselines.replicate_md(runs, 50_000.0, 2.0)] == [20_000, 5_000]
    assert [len(r) for r in baselines.replicate_md(runs, 0.1, 2.0)] == [1]


def test_koopman_finds_a_linear_process_and_its_rollouts_decay():
    rng = np.random.default_rng(3)
    exact = np.array([[0.9, 0.1], [-0.1, 0.8]])
    z = np.zeros((50_000, 2))
    for t in range(1, len(z)):
        z[t] = z[t - 1] @ exact + rng.normal(0, 0.1, 2)
    matrix = baselines.koopman_rollout([z], np.eye(2), 1)[:, 0]
    np.testing.assert_allclose(matrix, exact, atol=0.02)
    path = baselines.koopman_rollout([z], z[:5], 200)
    assert path.shape == (5, 200, 2) and np.abs(path[:, -1]).max() < 1e-6
    np.testing.assert_allclose(path[:, 1], z[:5] @ matrix @ matrix)
    with pytest.raises(ValueError, match="longest has 1"):
        baselines.koopman_rollout([z[:1]], z[:5], 2)


SPEC = FeatureSpec("distances", ("a",), np.zeros((1, 2), dtype=np.int64), ())


def _model(runs: list[np.ndarray]) -> tuple[ReferenceModel, FeatureSet]:
    model = ReferenceModel(SPEC, runs, 1.0, lag=5.0, temperature=300.0, seed=0)
    return model, FeatureSet((Path("a"),), runs, 1.0, np.zeros((1, 2, 3)), StructureTotals())


@pytest.fixture(scope="module")
def noise() -> tuple[ReferenceModel, FeatureSet]:
    return _model([np.cumsum(np.random.default_rng(0).normal(size=(300, 1)), axis=0)])


def test_what_is_missing_is_named(noise: tuple[ReferenceModel, FeatureSet]) -> None:
    topology = mdtraj.load("systems/molecules/alanine_dipeptide.pdb").topology
    assert frame_baselines(*noise, [], topology, EvaluationSettings(baselines=())) == {}
    with pytest.raises(EvaluationError, match="no baseline is called 'magic'"):
        frame_baselines(*noise, noise[1].runs, topology, EvaluationSettings(baselines=("magic",)))
    with pytest.raises(EvaluationError, match="baseline msm needs training trajectories"):
        frame_baselines(*noise, [], topology, EvaluationSettings(baselines=("msm",)))


def test_training_frames_at_another_spacing_are_refused() -> None:
    topology, frame = features.load_topology(Path("systems/molecules/alanine_dipeptide.pdb"))
    spec = features.feature_spec(topology)
    runs = [np.random.default_rng(1).uniform(-3, 3, (200, 2))]
    model = ReferenceModel(spec, runs, 1.0, lag=5.0, temperature=300.0, seed=0)
    own = FeatureSet((Path("a"),), runs, 1.0, frame, StructureTotals())
    with pytest.raises(EvaluationError, match=r"training frames are 0\.7 ps apart; expected 1 ps or a whole part"):
        training_runs(replace(own, interval=0.7), model)
    with pytest.raises(EvaluationError, match="longest training run holds 10 frames"):
        training_runs(replace(own, runs=[runs[0][:20]], interval=0.5), model)
    (every_other,) = training_runs(replace(own, interval=0.5), model)
    np.testing.assert_array_equal(every_other, runs[0][::2])
    with pytest.raises(EvaluationError, match="needs --wall-time and --md-speed"):
        frame_baselines(model, own, runs, topology, EvaluationSettings(baselines=("replicate",)))


def test_names_stand_for_what_is_known() -> None:
    topology, frame = features.load_topology(Path("systems/molecules/alanine_dipeptide.pdb"))
    spec = features.feature_spec(topology)

    def chosen(*names: str, **settings: float) -> tuple[str, ...]:
        return chosen_baselines(EvaluationSettings(baselines=names, **settings), spec, topology, frame[0], "koopman")

    assert chosen("msm") == ("msm",) and chosen() == ()
    assert chosen("auto") == ("residue-table",) and chosen("msm", "auto") == ("msm", "residue-table")
    assert chosen("all") == ("persistence", "msm", "shuffled", "residue-table", "koopman")
    assert "replicate" in chosen("all", wall_time=1.0, md_speed=1.0)
    assert chosen_baselines(EvaluationSettings(), SPEC, topology, frame[0]) == ()


def _load(name: str) -> mdtraj.Trajectory:
    return mdtraj.load(str(bundled(name)))


def test_frames_follow_the_histograms_of_their_residues() -> None:
    frame = _load("met_enkephalin")
    spec = feature_spec(frame.topology)
    histograms = table_histograms(spec, frame.topology, frame.xyz[0])
    (run,) = drawn_torsions(histograms, 50_000, np.random.default_rng(0))
    assert run.shape == (50_000, len(spec.names)) and np.abs(run).max() <= np.pi
    found, table = chain(frame.topology, frame.xyz[0]), ResidueTable.of(load_peptides().statistics)
    kind, place, _ = found.types[3]
    expected = table.torsions[kind, place, SLOTS.index("chi1")]
    counts = np.histogram(run[:, spec.names.index("chi1 PHE4")], len(expected), (-np.pi, np.pi))[0]
    np.testing.assert_allclose(counts / counts.sum(), expected / expected.sum(), atol=0.01)
    assert abs(np.corrcoef(np.sin(run[:, :2]).T)[0, 1]) < 0.03  # blind to neighbours


def test_a_mirror_image_has_mirrored_torsions() -> None:
    frame = _load("valine_dipeptide")
    spec = feature_spec(frame.topology)
    left = table_histograms(spec, frame.topology, frame.xyz[0])
    right = table_histograms(spec, frame.topology, frame.xyz[0] * [1.0, 1.0, -1.0])
    np.testing.assert_array_equal(right, left[:, ::-1])


def test_other_molecules_have_no_table() -> None:
    frame = _load("chignolin")
    spec = feature_spec(frame.topology)
    assert chosen_baselines(EvaluationSettings(), spec, frame.topology, frame.xyz[0]) == ()
    with pytest.raises(EvaluationError, match="baseline residue-table is not for this molecule"):
        table_histograms(spec, frame.topology, frame.xyz[0])


def test_flow_on_tica_coordinates_keeps_an_ornstein_uhlenbeck_process(monkeypatch):
    monkeypatch.setattr("latentmd.evaluation.baselines._BATCH", 256)

    rng = np.random.default_rng(4)
    x = np.zeros((30_000, 1))
    for t in range(1, len(x)):
        x[t] = 0.8 * x[t - 1] + 0.6 * rng.normal()
    flow = TicaFlow([x], step=10.0, seed=0)
    flow.fit(seconds=0.0)
    made = flow.rollout([x], walkers=32, steps=200)
    assert len(made) == 32 and made[0].shape == (200, 1)
    everything = np.concatenate([m[50:] for m in made])
    assert np.std(everything) == pytest.approx(1.0, abs=0.25)
    pairs = np.concatenate([np.stack([m[:-1, 0], m[1:, 0]]) for m in made], axis=1)
    assert np.corrcoef(pairs)[0, 1] == pytest.approx(0.8, abs=0.08)
