"""What exact chains are asked for and what results know."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.sampling.metropolis.settings import ChainsRequest, ChainsResult


def test_budgets_are_positive() -> None:
    with pytest.raises(ValueError, match="--wall is 0 s; expected more than 0"):
        ChainsRequest(out=Path("out"), wall=0.0)
    assert ChainsRequest(out=Path("out")).wall is None and ChainsRequest(out=Path("out"), wall=2.0).wall == 2.0


def test_a_result_finds_its_files(tmp_path: Path) -> None:
    found = ChainsResult(tmp_path, "converged", {"file": "metropolised.xtc", "frames": 12})
    assert found.trajectories == [tmp_path / "metropolised.xtc"] and found.topology.name == "topology.pdb"
    assert found.page.name == "free_energy.html" and "converged, 12 frames" in repr(found)
