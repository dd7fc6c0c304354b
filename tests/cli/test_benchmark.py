"""`latentmd benchmark`: what it shows and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from latentmd.cli.benchmark import benchmark_command

PDB = "systems/molecules/alanine_dipeptide.pdb"


def test_command_refuses_an_earlier_benchmark_and_a_foreign_molecule(ou_bundle: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    (tmp_path / "benchmark.json").write_text("{}")
    again = runner.invoke(benchmark_command, [PDB, "--model", "none", "--out", str(tmp_path)])
    assert again.exit_code == 1 and "--overwrite" in again.output
    from latentmd.systems.peptide import backbone, pdb_block

    other = tmp_path / "other.pdb"
    other.write_text(pdb_block(backbone(["ACE", "ALA", "ALA", "NME"])))
    line = [str(other), "--model", str(ou_bundle), "--out", str(tmp_path / "x"), "--seconds", "0.01"]
    foreign = runner.invoke(benchmark_command, line)
    assert foreign.exit_code == 1 and "does not cover" in foreign.output
    assert not (tmp_path / "x/benchmark.json").exists()


def test_options_reach_the_benchmark_and_its_rows_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from latentmd.evaluation.speed import Row, SpeedComparison

    asked: dict[str, Any] = {}

    def benchmark(molecule: Path, model: str | None, **options: Any) -> dict[str, Any]:
        asked.update(options, model=model)
        row = Row(name="encoder", size="4 frames", rate=12.0, unit="frames/s", low=11.0, high=13.0)
        per_core = SpeedComparison(22, 32, "avx2", 1.5, openmm={"Reference": 30.0}, ratio=(20.0, 18.0, 22.0))
        return {
            "rows": [row],
            "cost_against_atoms": [],
            "peak_gflops": 50.0,
            "import_seconds": {"torch": 1.5},
            "replicas_on_one_core": per_core,
        }

    monkeypatch.setattr("latentmd.evaluation.benchmark.benchmark", benchmark)
    line = [PDB, "--model", "none", "--walkers", "4", "--walkers", "8", "--seconds", "0.5", "--out", str(tmp_path)]
    result = CliRunner().invoke(benchmark_command, line)
    assert asked["model"] is None and asked["settings"].walkers == (4, 8)
    assert asked["settings"].seconds == 0.5
    assert result.exit_code == 0, result.output
    assert "encoder" in result.output and "50 GFLOP/s" in result.output and "torch 1.50 s" in result.output
    assert "20.0 times (18.0 to 22.0)" in " ".join(result.output.split())
