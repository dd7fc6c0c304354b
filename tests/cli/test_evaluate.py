"""`latentmd evaluate`: trajectories or a model, what reaches the workflow, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from latentmd.analysis.metric import Metric
from latentmd.cli.main import main

PDB = "systems/molecules/alanine_dipeptide.pdb"


def _run(*options: str) -> Result:
    return CliRunner().invoke(main, ["evaluate", *options])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the two workflows were called with; they answer with one metric."""
    calls: list[Any] = []

    def answer(name: str) -> Any:
        def workflow(*arguments: Any, **options: Any) -> Any:
            calls.append((name, arguments, options))
            return SimpleNamespace(metrics=[Metric("Rg", "structure", 0.3)], baselines={}, notes=["few frames"])

        return workflow

    monkeypatch.setattr("latentmd.evaluation.evaluate.evaluate", answer("trajectories"))
    monkeypatch.setattr("latentmd.evaluation.model.evaluate_model", answer("model"))
    return calls


def test_trajectories_are_compared_with_the_reference(asked: list[Any], tmp_path: Path) -> None:
    line = ["a.xtc", "--reference", "md.xtc", "--top", PDB, "--lag", "50ps", "--out", str(tmp_path)]
    result = _run(*line)
    assert result.exit_code == 0, result.output
    ((name, arguments, options),) = asked
    assert name == "trajectories" and arguments == ((Path("a.xtc"),),)
    assert (options["reference"], options["top"]) == ((Path("md.xtc"),), Path(PDB))
    settings = options["settings"]
    assert settings.lag == 50.0 and settings.baselines == ("auto",) and options["out"] == tmp_path
    assert "Rg" in result.output and "note: few frames" in result.output


def test_a_model_is_evaluated_with_all_baselines_unless_none_are_wanted(asked: list[Any], tmp_path: Path) -> None:
    line = ["--model", "m.pt", "--reference", "md.xtc", "--out", str(tmp_path)]
    assert _run(*line).exit_code == 0
    assert _run(*line, "--baseline", "none").exit_code == 0
    assert [call[0] for call in asked] == ["model", "model"]
    assert [call[2]["settings"].baselines for call in asked] == [("all",), ()]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--reference", "md.xtc"], "name either GENERATED trajectories or --model"),
        (["a.xtc", "--model", "m.pt", "--reference", "md.xtc"], "name either GENERATED trajectories or --model"),
        (["a.xtc", "--reference", "md.xtc"], "--top is missing"),
        (["a.xtc", "--reference", "md.xtc", "--top", PDB, "--store"], "--store writes metrics into a model"),
        (["a.xtc", "--reference", "md.xtc", "--top", PDB, "--lag", "10"], "has no unit"),
        (["a.xtc", "--top", PDB], "--reference"),
    ],
)
def test_refusals(options: list[str], reason: str, asked: list[Any]) -> None:
    result = _run(*options)
    assert result.exit_code == 2 and reason in " ".join(result.output.split()), result.output
    assert not asked


def test_files_that_are_not_there(tmp_path: Path) -> None:
    options = ["--reference", "none.xtc", "--top", PDB, "--out", str(tmp_path / "x")]
    result = _run("none.xtc", *options)
    assert result.exit_code == 1 and "none.xtc" in result.output
    assert not (tmp_path / "x" / "evaluation.json").exists()
