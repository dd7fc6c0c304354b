"""The correctness runs, in small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentmd.worlds.correctness import EXPLORERS, LANDSCAPES, main, make_run, table


@pytest.mark.slow
def test_a_run_is_reported_and_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs.jsonl"
    arguments = ["--out", str(out), "--seeds", "1", "--landscape", "double well", "--explorer", "untrained"]
    main(arguments)
    (row,) = (json.loads(line) for line in out.read_text().splitlines())
    assert row["status"] in ("converged", "budget")
    assert abs(row["deviation"]) < 4
    main(arguments)
    assert len(out.read_text().splitlines()) == 1
    assert "double well" in capsys.readouterr().out


def test_the_table_counts_runs_within_two_standard_errors() -> None:
    rows = [
        {"landscape": "double well", "explorer": "trained", "status": status, "deviation": z, "simulated": 10.0}
        for status, z in (("converged", 1.9), ("converged", -2.1), ("budget", 0.0), ("budget", None))
    ]
    assert table(rows).splitlines()[1].split() == ["double", "well", "trained", "4", "2", "1", "/", "2", "2", "10"]


@pytest.mark.parametrize("explorer", EXPLORERS)
@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_every_combination_can_be_made(landscape: str, explorer: str, tmp_path: Path) -> None:
    run = make_run(landscape, explorer, 0, tmp_path, limit=1e-6)
    run.run()
    assert run.progress().bursts == run.settings.starts
