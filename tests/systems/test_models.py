"""The bundled models: small, sound, and found by the molecule they cover."""

from __future__ import annotations

from pathlib import Path

import pytest

import latentmd
from latentmd.model.file import bundled_models, find, read_manifest
from latentmd.molecule.chemistry import fingerprint

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"


@pytest.mark.parametrize("name", bundled_models())
def test_a_bundled_model_is_small_and_covers_a_bundled_molecule(name: str) -> None:
    from openmm import app

    assert find(name).stat().st_size <= 3_000_000
    manifest = read_manifest(name)
    covered = {fingerprint(app.PDBFile(str(path)).topology): path.stem for path in MOLECULES.glob("*.pdb")}
    assert manifest.fingerprint in covered
    assert manifest.reference.energy_quantiles is not None


@pytest.mark.skipif("alanine-dipeptide" not in bundled_models(), reason="the model is not in this checkout")
def test_the_main_job_needs_no_options_but_a_shorter_time(tmp_path: Path) -> None:
    result = latentmd.simulate(MOLECULES / "alanine_dipeptide.pdb", time="1ns", walkers=2, out=tmp_path / "run")
    assert result.summary["model"]["name"] == "alanine-dipeptide"
    assert result.summary["frames_failing_checks"] == 0
    assert result.summary["replaced_by_md"] == 0
