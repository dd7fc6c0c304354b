"""Training on a data set of many peptides: a model that binds, held-out scores, resuming, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from latentmd.io.atomic import OutputError
from latentmd.model.peptide_file import read_peptide_manifest
from latentmd.training.peptides.dataset import DatasetError
from latentmd.training.peptides.run import STATE, PeptideSettings, train_peptides

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
    lines: list[str] = []
    found = train_peptides(tmp_path, tmp_path / "many.pt", SETTINGS, report=lines.append)
    assert "3 peptides, 144 frames; held out 1, 48" in lines
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
    out = tmp_path / "many.pt"
    train_peptides(peptide_dataset, out, replace(SETTINGS, validation=0.0), report=lambda _: None)
    state = tmp_path / "many-training" / STATE
    before = torch.load(state, weights_only=True)
    assert before["stage"] == "step"
    lines: list[str] = []
    again = train_peptides(peptide_dataset, out, replace(SETTINGS, validation=0.0), resume=True, report=lines.append)
    after = torch.load(state, weights_only=True)["parts"]["model"]
    for name, value in before["parts"]["model"].items():
        if name.startswith(("encoder", "basis")):
            assert torch.equal(value, after[name])
    assert again.scores == {} and "nothing is scored" in again.table()
    with pytest.raises(OutputError, match="another settings"):
        train_peptides(peptide_dataset, out, replace(SETTINGS, validation=0.0, rows=5), resume=True)


def test_a_data_set_without_training_molecules_is_refused(peptide_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"molecules": [_row(peptide_dataset, "trialanine", "test")]}))
    with pytest.raises(DatasetError, match="no molecule to train on"):
        train_peptides(tmp_path, tmp_path / "many.pt", SETTINGS)
