"""Training on a data set of many peptides: a model that binds, held-out scores, resuming, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from latentmd.io.atomic import OutputError
from latentmd.model.peptide_file import load_peptides, read_peptide_manifest
from latentmd.systems.protocol import Protocol
from latentmd.training.peptides.data import collect
from latentmd.training.peptides.dataset import DatasetError
from latentmd.training.peptides.run import PeptideSettings, coverage_of, train_peptides, write_model

SIZES = {"dim": 8, "n_slow": 8, "encoder_width": 16, "encoder_depth": 1, "width": 24, "depth": 1, "causal_depth": 1,
         "heads": 2}  # fmt: skip
SETTINGS = PeptideSettings(minutes=0.03, molecules=4, rows=4, basis_batches=2, sizes=SIZES, rollouts=(10, 5))


def _row(dataset: Path, name: str, split: str) -> dict[str, object]:
    """A row of a manifest; the name of one molecule may stand for another's files."""
    folder = dataset / (name if (dataset / name).exists() else "alanine_dipeptide")
    runs = [str(run) for run in sorted(folder.glob("*.xtc"))]
    return {"name": name, "topology": str(folder / "topology.pdb"), "trajectories": runs, "split": split}


def test_a_model_is_trained_and_scored_on_the_peptide_that_was_held_out(peptide_dataset: Path, tmp_path: Path) -> None:
    splits = {"alanine": "validation", "alanine_dipeptide": "train", "trialanine": "train", "valine_dipeptide": "train"}
    rows = [_row(peptide_dataset, name, split) for name, split in splits.items()]
    (tmp_path / "manifest.json").write_text(json.dumps({"molecules": rows}))
    stages: list[str] = []
    found = train_peptides(tmp_path, tmp_path / "many.pt", SETTINGS, report=lambda stage, *_: stages.append(stage))
    assert stages[0] == "3 peptides of 144 frames; held out 1 peptides of 48 frames"
    assert list(dict.fromkeys(stages[1:])) == ["latent", "step"]
    (scores,) = found.scores.values()
    assert set(scores) == {"table", "half", "ever", "rollout 100", "redraw"}
    assert all(0 <= row["torsions"] < 0.84 for row in scores.values())
    assert scores["redraw"]["degrees"] < 180
    assert "residue table" in found.table() and "model, draws" in found.table()
    manifest = read_peptide_manifest(found.path)
    assert len(manifest.sequences) == 3 and len(manifest.held_out) == 1
    assert manifest.coverage.temperature == (350, 350)
    assert json.loads((tmp_path / "many-training" / "training.json").read_text()).keys() == found.scores.keys()


def test_an_interrupted_training_goes_on_with_its_latent(peptide_dataset: Path, tmp_path: Path) -> None:
    out, settings = tmp_path / "many.pt", replace(SETTINGS, validation=0.0)

    def interrupt(stage: str, *_: object) -> None:
        if stage == "step":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_peptides(peptide_dataset, out, settings, report=interrupt)
    folder = tmp_path / "many-training"
    before = (folder / "latent.pt").read_bytes()
    assert not out.exists() and not (folder / "step.pt").exists()
    stages: list[str] = []
    again = train_peptides(
        peptide_dataset, out, settings, resume=True, report=lambda stage, *_: stages.append(stage)
    )  # fmt: skip
    assert "latent" not in stages and (folder / "latent.pt").read_bytes() == before
    latent, whole = (torch.load(folder / name, weights_only=True) for name in ("latent.pt", "step.pt"))
    for name, value in whole.items():
        if name.startswith("encoder."):
            assert torch.equal(value, latent[f"encoder.{name}"])
    assert again.scores == {} and "nothing is scored" in again.table()
    with pytest.raises(OutputError, match="another settings"):
        train_peptides(peptide_dataset, out, replace(settings, rows=5), resume=True)
    with pytest.raises(OutputError, match="another interval"):
        train_peptides(peptide_dataset, out, settings, interval=20.0, resume=True)


def test_a_data_set_without_training_molecules_is_refused(peptide_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"molecules": [_row(peptide_dataset, "trialanine", "test")]}))
    with pytest.raises(DatasetError, match="no molecule to train on"):
        train_peptides(tmp_path, tmp_path / "many.pt", SETTINGS)


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
    from openmm.app import PDBFile

    from latentmd.evaluation.residue_table import ResidueTable
    from latentmd.molecule.chain import chain
    from latentmd.systems.bundled import bundled

    file, pdb = load_peptides(), PDBFile(str(bundled("trialanine")))
    found = chain(pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value))
    peptides = collect([("a", found, torch.zeros(1, 2, *found.mask.shape, dtype=torch.int16))], 10.0)
    manifest = write_model(
        tmp_path / "again.pt", file.model, ResidueTable.of(file.statistics), peptides, protocol=Protocol(),
        held_out=["b", "a", "b"],
    )  # fmt: skip
    assert (manifest.name, manifest.frame_interval) == ("again", 10.0)
    assert manifest.sequences == [found.sequence] and manifest.held_out == ["a", "b"]
    again = load_peptides(tmp_path / "again.pt")
    for name, value in file.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
    assert set(again.statistics["kinds"].tolist()) == set(found.types[:, 0].tolist())
    assert again.statistics["table_counts"].sum() == file.statistics["table_counts"].sum()
    assert again.manifest.coverage == file.manifest.coverage
