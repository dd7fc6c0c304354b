"""The benchmark's rows, files and refusals, on very short timings."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from latentmd.cli.benchmark import benchmark_command
from latentmd.evaluation.benchmark import benchmark

PDB = "systems/molecules/alanine_dipeptide.pdb"


def test_benchmark_times_every_part(ou_bundle, tmp_path):
    document = benchmark(PDB, ou_bundle, out=tmp_path, walkers=(1, 4), seconds=0.01, max_atoms=30)
    names = [row.name for row in document["rows"]]
    for part in ("plain MD, Reference", "plain MD, CPU", "encoder", "decoder", "energy head", "energy and forces"):
        assert part in names
    assert sum("decoded every" in n for n in names) == 2 and any(n.startswith("alternate") for n in names)
    assert all(np.isfinite(row.rate) and row.rate > 0 for row in document["rows"])
    reference = next(row for row in document["rows"] if row.name == "plain MD, Reference")
    assert reference.simulated == pytest.approx(reference.rate * 0.004 / 1000)
    written = json.loads((tmp_path / "benchmark.json").read_text())
    assert written["peak_gflops"] > 0 and written["cost_against_atoms"][0]["atoms"] == 22
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_command_refuses_an_earlier_benchmark_and_a_foreign_molecule(ou_bundle, tmp_path):
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
