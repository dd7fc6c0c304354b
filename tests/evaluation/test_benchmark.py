"""The benchmark's rows and files, on very short timings."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latentmd.evaluation.benchmark import BenchmarkSettings, benchmark
from latentmd.evaluation.speed import REPLICA_MD
from latentmd.replicas.library import library

PDB = "systems/molecules/alanine_dipeptide.pdb"


def test_benchmark_times_every_part(ou_bundle, tmp_path):
    document = benchmark(
        PDB, ou_bundle, out=tmp_path, settings=BenchmarkSettings(walkers=(1, 4), seconds=0.01, max_atoms=30)
    )
    names = [row.name for row in document["rows"]]
    for part in ("plain MD, Reference", "plain MD, CPU", "encoder", "decoder", "energy head", "energy and forces"):
        assert part in names
    assert sum("decoded every" in n for n in names) == 2 and any(n.startswith("alternate") for n in names)
    rows = [row for row in document["rows"] if row.name != REPLICA_MD or library()]
    assert all(np.isfinite(row.rate) and row.rate > 0 for row in rows)
    assert (document["replicas_on_one_core"] is None) == (library() is None)
    reference = next(row for row in document["rows"] if row.name == "plain MD, Reference")
    assert reference.simulated == pytest.approx(reference.rate * 0.004 / 1000)
    written = json.loads((tmp_path / "benchmark.json").read_text())
    assert written["peak_gflops"] > 0 and written["cost_against_atoms"][0]["atoms"] == 22
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_rollouts_of_a_solute_are_timed_beside_md_in_water(ou_surrogate, ou_manifest, tmp_path):
    from openmm import app, unit

    from latentmd.model.file import save
    from latentmd.systems.builder import Protocol, build

    model = tmp_path / "wet.pt"
    save(model, ou_surrogate, {**ou_manifest, "solvent": "explicit", "force_field": []})
    box = build(PDB, Protocol("explicit"))
    assert box.topology.getNumAtoms() > 500
    with (tmp_path / "system.pdb").open("w") as file:
        app.PDBFile.writeFile(box.topology, box.positions.in_units_of(unit.nanometer), file)
    settings = BenchmarkSettings(walkers=(4,), seconds=0.01, max_atoms=0)
    rows = benchmark(tmp_path / "system.pdb", model, settings=settings)["rows"]
    names = [row.name for row in rows]
    assert "encoder" in names and "energy head" not in names and not any("alternate" in name for name in names)
    md, rollout = (next(row for row in rows if row.name.startswith(part)) for part in ("plain MD, CPU", "rollout"))
    assert rollout.simulated > 100 * md.simulated > 0
