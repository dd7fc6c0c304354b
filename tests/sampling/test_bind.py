"""A model of many peptides bound to the molecule of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.model.file import read_manifest
from latentmd.sampling.models import bind_file
from latentmd.systems.bundled import bundled


def test_a_file_without_hydrogens_is_completed_and_bound(tmp_path: Path) -> None:
    lines = bundled("trialanine").read_text().splitlines()
    heavy = [line for line in lines if not (line.startswith("ATOM") and line[12:16].strip().startswith("H"))]
    (tmp_path / "heavy.pdb").write_text("\n".join(line for line in heavy if not line.startswith("CONECT")) + "\n")
    manifest = bind_file(tmp_path / "heavy.pdb", tmp_path / "a.pt")
    assert manifest.zero_shot is not None and manifest.zero_shot.sequence == "ALA-ALA-ALA"
    assert read_manifest(tmp_path / "a.pt").tokens == manifest.tokens


def test_a_model_of_one_molecule_and_an_uncovered_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a model of one molecule, which needs no binding"):
        bind_file(bundled("trialanine"), tmp_path / "a.pt", "alanine-dipeptide")
    with pytest.raises(ValueError, match="it has 10 residues; covered are 1 to 8"):
        bind_file(bundled("chignolin"), tmp_path / "a.pt")
    assert not (tmp_path / "a.pt").exists()
