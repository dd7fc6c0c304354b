"""Baselines of training frames: what they need, and that MD itself does as well as MD."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.analysis import features
from latentmd.analysis.features import EvaluationError, FeatureSet, FeatureSpec, StructureTotals
from latentmd.analysis.reference import ReferenceModel
from latentmd.evaluation.frame_baselines import chosen_baselines, frame_baselines
from latentmd.evaluation.settings import EvaluationSettings

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
        frame_baselines(*noise, ["x"], topology, EvaluationSettings(baselines=("magic",)))
    with pytest.raises(EvaluationError, match="baseline msm needs training trajectories"):
        frame_baselines(*noise, [], topology, EvaluationSettings(baselines=("msm",)))


def test_training_frames_at_another_spacing_are_refused(tmp_path: Path) -> None:
    topology, frame = features.load_topology(Path("systems/molecules/alanine_dipeptide.pdb"))
    spec = features.feature_spec(topology)
    np.save(tmp_path / "a.npy", (frame + np.random.default_rng(0).normal(0, 0.02, (50, 22, 3))).astype(np.float32))
    runs = [np.random.default_rng(1).uniform(-3, 3, (200, 2))]
    model = ReferenceModel(spec, runs, 1.0, lag=5.0, temperature=300.0, seed=0)
    own = FeatureSet((Path("a"),), runs, 1.0, frame, StructureTotals())
    with pytest.raises(EvaluationError, match=r"training frames are 0\.7 ps apart; expected 1 ps or a whole part"):
        frame_baselines(
            model, own, [tmp_path / "a.npy"], topology, EvaluationSettings(baselines=("msm",), interval=0.7)
        )
    with pytest.raises(EvaluationError, match="needs --wall-time and --md-speed"):
        frame_baselines(
            model, own, [tmp_path / "a.npy"], topology, EvaluationSettings(baselines=("replicate",), interval=1.0)
        )


def test_names_stand_for_what_is_known() -> None:
    topology, frame = features.load_topology(Path("systems/molecules/alanine_dipeptide.pdb"))
    spec = features.feature_spec(topology)

    def chosen(*names: str, **settings: float) -> tuple[str, ...]:
        return chosen_baselines(EvaluationSettings(baselines=names, **settings), spec, topology, frame[0], ("koopman",))

    assert chosen("msm") == ("msm",) and chosen() == ()
    assert chosen("auto") == ("residue-table",) and chosen("msm", "auto") == ("msm", "residue-table")
    assert chosen("all") == ("persistence", "msm", "shuffled", "residue-table", "koopman")
    assert "replicate" in chosen("all", wall_time=1.0, md_speed=1.0)
    assert chosen_baselines(EvaluationSettings(), SPEC, topology, frame[0]) == ()
