"""The table of several seeds: means and deviations of figures that are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "examples" / "worlds" / "table.py"


def figures(seed: int, world: str = "circles") -> dict[str, Any]:
    row = {"parameters": 1200, "one_step": {"cosine": 0.9, "r2": 0.5 + 0.1 * seed, "gain": 0.0},
           "forecast": {"step 1": 0.25, "mean": 1.5}, "energy_drift": {"last": 1.0}}  # fmt: skip
    ensemble = {"population left": {"exact": 0.6, "world": 0.5, "model": 0.4 + 0.1 * seed}}
    return {"world": world, "observe": "state", "seed": seed, "predictors": {"residual": row},
            "probe_r2": {"position": 0.9}, "ensemble": ensemble}  # fmt: skip


def run(folder: Path, *tables: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    for i, table in enumerate(tables):
        (folder / str(i)).mkdir()
        (folder / str(i) / "table.json").write_text(json.dumps(table))
    names = [str(folder / str(i)) for i in range(len(tables))]
    return subprocess.run([sys.executable, str(SCRIPT), *names], capture_output=True, text=True, timeout=60)


def test_means_and_deviations(tmp_path: Path) -> None:
    out = run(tmp_path, figures(0), figures(1), figures(2)).stdout
    assert "circles, state, seeds 0, 1, 2" in out
    assert "| predictor | weights | cosine | R² | gain | error 1 | mean error | drift |" in out
    assert "| residual | 1,200 | 0.9000 ± 0.0000 | 0.6000 ± 0.1000 | 0.000 ± 0.000 | 0.250 ± 0.000" in out
    assert "| population left | 0.6000 | 0.5000 ± 0.0000 | 0.5000 ± 0.1000 |" in out


def test_one_seed_has_no_deviation_and_worlds_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert "| position | 0.900 |" in run(tmp_path / "one", figures(0)).stdout
    mixed = run(tmp_path / "two", figures(0), figures(0, "lines"))
    assert mixed.returncode == 1 and "of one world" in mixed.stderr
