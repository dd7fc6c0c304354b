"""The file of a trained model: what it covers follows from what it was trained on."""

from __future__ import annotations

from pathlib import Path

from latentmd.model.peptide_file import load_peptides
from latentmd.systems.protocol import Protocol
from latentmd.training.peptides.output import coverage_of, write_model

# More of `write_model` is in test_run.py.


def test_coverage_is_the_residues_and_ends_of_the_table() -> None:
    capped = coverage_of(["ACE first: a", "ALA inner: b", "HIE inner: c", "NME last: d"], Protocol(temperature=310.0))
    assert capped.residues == {"ALA", "HIS"} and capped.ends == {"ACE", "NME"}
    assert capped.temperature == (310.0, 310.0) and capped.lengths == (1, 8)
    assert capped.force_field == Protocol().force_field_files
    free = coverage_of(["ALA first: a", "GLY last: b"], Protocol())
    assert free.ends == {""} and free.residues == {"ALA", "GLY"}


def test_a_model_written_again_is_the_same_model(tmp_path: Path) -> None:
    import numpy as np
    import torch
    from openmm.app import PDBFile

    from latentmd.evaluation.residue_table import ResidueTable
    from latentmd.molecule.chain import chain
    from latentmd.systems.bundled import bundled

    file, pdb = load_peptides(), PDBFile(str(bundled("trialanine")))
    found = chain(pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value))
    manifest = write_model(
        tmp_path / "again.pt", file.model, ResidueTable.of(file.statistics), [found], protocol=Protocol(),
        frame_interval=10.0, name="again", held_out=["b", "a", "b"],
    )  # fmt: skip
    assert manifest.sequences == [found.sequence] and manifest.held_out == ["a", "b"]
    again = load_peptides(tmp_path / "again.pt")
    for name, value in file.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
    assert set(again.statistics["kinds"].tolist()) == set(found.types[:, 0].tolist())
    assert again.statistics["table_counts"].sum() == file.statistics["table_counts"].sum()
    assert again.manifest.coverage == file.manifest.coverage
