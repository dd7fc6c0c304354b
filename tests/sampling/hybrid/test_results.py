"""What a run that ended leaves: bursts, weights and provenance that belong together."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np

from latentmd.sampling.levels import hybrid
from latentmd.sampling.request import HybridSettings

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def test_weights_and_bursts_belong_together(finished: Path) -> None:
    weights = np.load(finished / "weights.npz")
    assert np.isclose(weights["weight"].sum(), 1.0) and (weights["weight"][weights["frame"] < 2] == 0).all()
    frames = 0
    for number, path in enumerate(sorted((finished / "bursts").glob("*.xtc"))):
        trajectory = mdtraj.load(str(path), top=str(finished / "topology.pdb"))
        assert len(trajectory) == np.count_nonzero(weights["round"] == number)
        np.testing.assert_allclose(trajectory.time[:20], 0.1 * np.arange(20), atol=1e-5)
        frames += len(trajectory)
    assert frames == len(weights["weight"])


def test_every_frame_has_its_provenance(finished: Path) -> None:
    lines = (finished / "provenance.csv").read_text().splitlines()
    assert lines[0] == "round,task,frame,time_ps,kind,origin,potential_energy,weight"
    assert len(lines) - 1 == len(np.load(finished / "weights.npz")["weight"])
    assert {line.split(",")[4] for line in lines[1:]} == {"relaxation", "md"}


def test_a_model_proposes_and_its_raw_frames_are_kept_apart(ou_bundle: Path, tmp_path: Path) -> None:
    settings = HybridSettings(interval=0.1, burst=2.0, relaxation=0.2, lag=0.3, starts=6, cells=20, proposals=1.0)
    result = hybrid(ALANINE, out=tmp_path / "run", model=ou_bundle, settings=settings, seed=1, time="50ps", processes=1)
    assert sum(result.summary["gate"].values()) > 0 and result.summary["temperature"] == 350.0
    raw = mdtraj.load(str(tmp_path / "run" / "surrogate_raw.xtc"), top=str(tmp_path / "run" / "topology.pdb"))
    assert len(raw) > 100
    weighted = len(np.load(tmp_path / "run" / "weights.npz")["weight"])
    assert weighted == sum(
        len(mdtraj.load(str(path), top=str(tmp_path / "run" / "topology.pdb")))
        for path in (tmp_path / "run" / "bursts").iterdir()
    )
