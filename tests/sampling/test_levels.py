"""Hybrid sampling at a level of exactness: what is asked for, and stopping by signals."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from latentmd.sampling import levels
from latentmd.sampling.errors import RunError
from latentmd.sampling.levels import hybrid, stop_on_signals
from latentmd.sampling.request import HybridBudget, HybridSettings

ALANINE = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def test_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(levels, "run_hybrid", lambda *arguments: asked.append(arguments))
    hybrid("folder/my.pdb", time="2ns", wall=60.0, force_field=["a.xml"], exactness="gated")
    ((source, request, built, _, watch),) = asked
    assert source == Path("folder/my.pdb") and built is None and watch is None
    assert request.out == Path("my-hybrid") and request.budget == HybridBudget(2000.0, 60.0)
    assert request.force_field == ("a.xml",) and request.settings == HybridSettings()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"exactness": "perfect"}, "perfect"),
        ({"model": "nothing"}, "nothing: no such model file or bundled model"),
        ({"solvent": "explicit"}, "cannot move the water around it"),
    ],
)
def test_refusals_write_nothing(options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        hybrid(ALANINE, out=tmp_path / "run", **options)
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_failure_of_sampling_is_a_run_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from latentmd.sampling.contracts import BurstError

    def fails(*_: Any) -> None:
        raise BurstError("all exploded")

    monkeypatch.setattr(levels, "_at_level", fails)
    with pytest.raises(RunError, match="all exploded"):
        hybrid(ALANINE, out=tmp_path / "run")


def test_a_first_signal_asks_and_a_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_leave_signals_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with stop_on_signals() as stop:
            seen.append((stop(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
