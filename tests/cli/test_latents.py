"""`latentmd latents`: what reaches the workflow, what it shows, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from latentmd.analysis.metric import Metric
from latentmd.cli.main import main

PDB = "systems/molecules/alanine_dipeptide.pdb"


def _run(*options: str) -> Result:
    return CliRunner().invoke(main, ["latents", *options])


def test_options_reach_the_workflow_and_its_metrics_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def latents(*arguments: Any, **options: Any) -> dict[str, Any]:
        asked.append((arguments, options))
        metric = Metric("VAMP-2, slow axes", "representation", 2.5, note="of three runs")
        return {"metrics": [metric], "notes": ["UMAP is not installed"]}

    monkeypatch.setattr("latentmd.evaluation.latents.latents", latents)
    options = ["--top", PDB, "--model", "m.pt", "--lag", "20ps", "--out", str(tmp_path)]
    result = _run("a.xtc", "b.xtc", *options)
    assert result.exit_code == 0, result.output
    (arguments, options), *_ = asked
    assert arguments == ((Path("a.xtc"), Path("b.xtc")), Path(PDB), "m.pt")
    assert options["settings"].lag == 20.0 and options["out"] == tmp_path
    for text in ("VAMP-2, slow axes", "note: of three runs", "note: UMAP is not installed", "latents.json"):
        assert text in result.output


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (["a.xtc", "--top", PDB], 2, "--model"),
        (["a.xtc", "--model", "alanine-dipeptide"], 2, "--top"),
        (["none.xtc", "--top", PDB, "--model", "alanine-dipeptide"], 1, "none.xtc"),
        (["a.xtc", "--top", PDB, "--model", "nothing"], 1, "nothing"),
        (["a.xtc", "--top", PDB, "--model", "alanine-dipeptide", "--lag", "20"], 2, "has no unit"),
    ],
)
def test_refusals(options: list[str], code: int, reason: str, tmp_path: Path) -> None:
    result = _run(*options, *(["--out", str(tmp_path / "x")]))
    assert result.exit_code == code and reason in result.output, result.output
    assert "Traceback" not in result.output and not (tmp_path / "x" / "latents.json").exists()
