"""Hybrid runs of a molecule: what they leave, that they go on where they ended, and what they refuse."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.io.atomic import OutputError
from latentmd.sampling.engine import MoleculeEngine
from latentmd.sampling.errors import RunError, RunInterrupted
from latentmd.sampling.hybrid import tasks
from latentmd.sampling.levels import hybrid
from latentmd.sampling.request import HybridSettings
from latentmd.training.loop import TrainingError

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"
SMALL = HybridSettings(interval=0.1, burst=2.0, relaxation=0.2, lag=0.3, starts=4, cells=20, surrogate=False, hot=False)


def run(out: Path, **options: Any) -> Any:
    settings = options.pop("settings", SMALL)
    return hybrid(ALANINE, out=out, time=options.pop("time", "30ps"), processes=1, settings=settings, **options)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where batches of bursts are smaller than they were."""
    calls, bursts = [0], MoleculeEngine.bursts

    def dies(self: MoleculeEngine, *arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 4:
            raise MemoryError("killed")
        return bursts(self, *arguments)

    monkeypatch.setattr(MoleculeEngine, "bursts", dies)
    monkeypatch.setattr(tasks, "BATCH", 2)
    with pytest.raises(MemoryError):
        run(tmp_path / "run", seed=5, resume=True)
    run(tmp_path / "run", seed=5, resume=True)
    _equal(finished, tmp_path / "run")


def test_sigterm_stops_after_a_checkpoint(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bursts, before = MoleculeEngine.bursts, signal.getsignal(signal.SIGTERM)

    def preempted(self: MoleculeEngine, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return bursts(self, *arguments)

    monkeypatch.setattr(MoleculeEngine, "bursts", preempted)
    monkeypatch.setattr(tasks, "BATCH", 2)
    with pytest.raises(RunInterrupted, match="--resume"):
        run(tmp_path / "run", seed=5)
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(list((tmp_path / "run" / "run" / "rounds" / "0000").glob("burst-*.npz"))) == 2
    monkeypatch.undo()
    run(tmp_path / "run", seed=5, resume=True)
    _equal(finished, tmp_path / "run")


def _equal(first: Path, second: Path) -> None:
    a, b = np.load(first / "weights.npz"), np.load(second / "weights.npz")
    assert set(a.files) == set(b.files)
    for name in a.files:
        np.testing.assert_array_equal(a[name], b[name])
    for path in (first / "bursts").iterdir():
        assert path.read_bytes() == (second / "bursts" / path.name).read_bytes()


def test_a_burst_that_explodes_is_discarded_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bursts, calls = MoleculeEngine.bursts, [0]

    def sometimes(self: MoleculeEngine, starts: Any, frames: int, seeds: Any) -> Any:
        calls[0] += 1
        broken = np.array(starts)
        broken[1] = np.nan if calls[0] == 1 else broken[1]
        return bursts(self, broken, frames, seeds)

    monkeypatch.setattr(MoleculeEngine, "bursts", sometimes)
    result = run(tmp_path / "run")
    assert result.summary["discarded_bursts"] == {"exploded": 1}
    assert np.isclose(np.load(tmp_path / "run" / "weights.npz")["weight"].sum(), 1.0)


def test_where_no_model_can_be_trained_sampling_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def collapses(*arguments: Any, **options: Any) -> None:
        raise TrainingError("the latent collapsed")

    monkeypatch.setattr("latentmd.sampling.hybrid.training.train_bundle", collapses)
    settings = replace(SMALL, surrogate=True)
    result = run(tmp_path / "run", settings=settings)
    assert result.summary["no_surrogate"] == "the latent collapsed" and result.summary["gate"] == {}
    assert np.isclose(np.load(tmp_path / "run" / "weights.npz")["weight"].sum(), 1.0)
    with pytest.raises(RunError, match="none could be trained: the latent collapsed"):
        run(tmp_path / "raw", settings=settings, exactness="raw")


def test_resume_begins_where_there_is_nothing_and_refuses_another_run(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run(tmp_path / "empty", seed=5, resume=True, time="9ps")
    with pytest.raises(OutputError, match="holds a run with another seed"):
        run(finished, seed=6, resume=True)
    with pytest.raises(OutputError, match=r"--resume to go on .* --overwrite"):
        run(finished, seed=5)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty"):
        run(tmp_path / "foreign", overwrite=True)
    assert [path.name for path in (tmp_path / "foreign").iterdir()] == ["thesis.txt"]


def test_a_larger_budget_goes_on(finished: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(finished, tmp_path / "run")
    rounds = json.loads((finished / "summary.json").read_text())["rounds"]
    assert run(tmp_path / "run", seed=5, resume=True, time="45ps").summary["rounds"] > rounds


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"temperature": -1.0}, "--temperature is -1 K"),
        ({"solvent": "explicit"}, "cannot move the water"),
        ({"time": "0.0001fs", "wall": -1.0}, "the budget is"),
    ],
)
def test_bad_settings_write_nothing(options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        run(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_states_can_only_be_what_was_visited(finished: Path) -> None:
    weights = np.load(finished / "weights.npz")
    assert weights["state"].max() < len(weights["states"])
    assert np.isclose(weights["cell_population"].sum(), 1.0)
