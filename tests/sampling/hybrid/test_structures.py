"""Structures of a surrogate without statistics, at every level of exactness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mdtraj
import pytest

from latentmd.sampling.errors import RunError
from latentmd.sampling.levels import hybrid
from latentmd.sampling.request import HybridSettings

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.mark.parametrize("level", ["raw", "relaxed", "gated"])
def test_levels_without_statistics(
    level: str, ou_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentmd.sampling.hybrid.structures.FRAMES", 12)
    settings = HybridSettings(interval=0.1, burst=2.0, relaxation=0.2, lag=0.3, starts=4)
    result = hybrid(
        ALANINE, out=tmp_path / "run", model=ou_bundle, settings=settings, exactness=level, processes=1, time="30ps"
    )
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary == result.summary and summary["exactness"] == level
    frames = mdtraj.load(str(tmp_path / "run" / f"{level}.xtc"), top=str(tmp_path / "run" / "topology.pdb"))
    assert len(frames) == summary["frames"] == 12 - sum(summary["rejected"].values())
    assert (summary["mean_potential_energy"] is None) == (level == "raw")


def test_a_surrogate_that_draws_broken_structures_fails_the_run(
    ou_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from latentmd.sampling.hybrid.explorer import SurrogateExplorer

    monkeypatch.setattr("latentmd.sampling.hybrid.structures.FRAMES", 12)
    rollout = SurrogateExplorer.rollout

    def stretched(self: SurrogateExplorer, *args: Any) -> Any:
        frames = rollout(self, *args)
        frames[:8] *= 1.5
        return frames

    monkeypatch.setattr(SurrogateExplorer, "rollout", stretched)
    settings = HybridSettings(interval=0.1, burst=2.0, relaxation=0.2, lag=0.3, starts=4)
    with pytest.raises(RunError, match=r"of 12 structures fail their structure checks: the run is not usable"):
        hybrid(
            ALANINE, out=tmp_path / "run", model=ou_bundle, settings=settings, exactness="raw", processes=1, time="30ps"
        )
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["structures_failing_checks"] >= 8
