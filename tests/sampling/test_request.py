"""Requests: times, budgets, and what results know."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.sampling.request import HybridBudget, HybridResult, RolloutSettings, picoseconds


def test_times_are_text_or_picoseconds() -> None:
    assert picoseconds("2ns") == 2000.0 and picoseconds(3) == 3.0
    with pytest.raises(ValueError, match="has no unit"):
        picoseconds("2")


@pytest.mark.parametrize("limits", [(0.0, None), (1.0, 0.0), (-1.0, 5.0)])
def test_budgets_are_positive(limits: tuple[float, float | None]) -> None:
    with pytest.raises(ValueError, match="expected positive numbers"):
        HybridBudget(*limits)


def test_a_run_without_a_wall_budget_never_ends_by_it() -> None:
    assert HybridBudget(1.0).seconds == float("inf") and HybridBudget(1.0, 2.0).seconds == 2.0


def test_frames_are_time_over_interval() -> None:
    settings = RolloutSettings("md", 0.3, 0.1, 1, 0, processes=None, out=Path("x"), overwrite=False)
    assert settings.frames == 3


def test_a_result_finds_its_files(tmp_path: Path) -> None:
    (tmp_path / "bursts").mkdir()
    (tmp_path / "bursts" / "round-0000.xtc").touch()
    rounds = HybridResult(tmp_path, "budget", {})
    assert [path.name for path in rounds.trajectories] == ["round-0000.xtc"] and rounds.page is None
    assert "budget, 1 trajectories" in repr(rounds)
    chains = HybridResult(tmp_path, "converged", {"file": "metropolised.xtc"})
    assert chains.trajectories == [tmp_path / "metropolised.xtc"] and chains.topology.name == "topology.pdb"
