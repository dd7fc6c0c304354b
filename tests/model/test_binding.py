"""Binding: the file of one peptide says where it comes from; what is not covered is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openmm.app import PDBFile

from latentmd.io.pdb import pdb_text
from latentmd.model.binding import bind, bound_peptide
from latentmd.model.file import BundleError, read_manifest
from latentmd.model.peptide_file import PeptideFile, load_peptides
from latentmd.model.zero_shot import measured
from latentmd.systems.bundled import bundled


@pytest.fixture(scope="module")
def file() -> PeptideFile:
    return load_peptides()


def _read(name: str) -> tuple[Any, Any]:
    pdb = PDBFile(str(bundled(name)))
    return pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value)


def test_a_bound_file_says_which_model_and_how_near(file: PeptideFile, tmp_path: Path) -> None:
    topology, positions = _read("trialanine")
    manifest = bind(topology, positions, tmp_path / "a.pt", file)
    assert read_manifest(tmp_path / "a.pt") == manifest
    assert manifest.zero_shot is not None and manifest.zero_shot.sha256 == file.sha256
    assert manifest.zero_shot.sequence == "ALA-ALA-ALA" and 0 <= manifest.zero_shot.pairs <= 1
    assert len(manifest.zero_shot.nearest) == 3 and manifest.covers(topology)
    assert manifest.lag == file.manifest.lag and manifest.temperature == 350 and "bound to" in manifest.name


def test_a_fine_tuned_file_is_not_zero_shot(file: PeptideFile, tmp_path: Path) -> None:
    topology, positions = _read("trialanine")
    what = {"from": "peptides", "frames": 10}
    manifest = bind(topology, positions, tmp_path / "a.pt", file, fine_tuned=what, metrics={"x": {"y": 1.0}})
    assert manifest.zero_shot is None and manifest.training == {"tilted": False, "fine_tuned": what}
    assert manifest.metrics == {"x": {"y": 1.0}} and "fine-tuned to" in manifest.name


def test_a_training_sequence_is_recognised(file: PeptideFile) -> None:
    topology, positions = _read("alanine_dipeptide")
    bound, found, _ = bound_peptide(topology, positions, file)
    near = measured(bound, found, file)
    assert near.trained == (found.sequence in file.manifest.sequences)
    assert near.nearest[0][1] == 1 and near.latent_distance is not None and near.latent_distance < 3


def test_what_is_not_covered_is_refused(file: PeptideFile, tmp_path: Path) -> None:
    topology, positions = _read("chignolin")
    with pytest.raises(BundleError, match="the model peptides does not cover this molecule: it has 10 residues"):
        bind(topology, positions, tmp_path / "a.pt", file)
    assert not (tmp_path / "a.pt").exists()


def test_a_structure_is_written_as_pdb() -> None:
    topology, positions = _read("trialanine")
    lines = [line for line in pdb_text(topology, positions).splitlines() if line.startswith("ATOM")]
    assert len(lines) == topology.getNumAtoms()
    written = np.array([[float(line[i : i + 8]) for i in (30, 38, 46)] for line in lines])
    assert np.abs(written - 10 * positions).max() < 6e-4
