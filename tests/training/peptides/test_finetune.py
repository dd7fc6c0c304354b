"""Fine-tuning on one molecule: a model file of it, scores side by side, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from latentmd.model.file import read_manifest
from latentmd.training.peptides.dataset import DatasetError
from latentmd.training.peptides.finetune import finetune


@pytest.mark.slow
def test_a_tuned_model_is_of_the_molecule_and_scored_beside_the_others(peptide_dataset: Path, tmp_path: Path) -> None:
    folder = peptide_dataset / "valine_dipeptide"
    found = finetune(sorted(folder.glob("*.xtc")), folder / "topology.pdb", tmp_path / "mine.pt", minutes=0.02)
    assert list(found.scores) == ["zero-shot", "fine-tuned", "from scratch"]
    # Frames were drawn from the model that is tuned; one that has seen a second of training is far behind.
    assert found.scores["zero-shot"]["nats later"] < found.scores["from scratch"]["nats later"]
    assert "fine-tuned" in found.table() and "nats later" in found.table()
    manifest = read_manifest(tmp_path / "mine.pt")
    assert manifest.zero_shot is None and manifest.training["fine_tuned"]["frames"] == 24
    assert manifest.metrics["fine-tuning"] == found.scores


def _copy(dataset: Path, name: str, to: Path) -> Path:
    shutil.copytree(dataset / name, to / name)
    return to / name


def test_other_conditions_than_the_models_are_refused(peptide_dataset: Path, tmp_path: Path) -> None:
    folder = _copy(peptide_dataset, "trialanine", tmp_path)
    (folder / "request.json").write_text(json.dumps({"protocol": {"temperature": 300.0}}))
    with pytest.raises(DatasetError, match="does not cover it: the temperature is 300 K; covered is 350 K"):
        finetune(sorted(folder.glob("*.xtc")), folder / "topology.pdb", tmp_path / "mine.pt")
    assert not (tmp_path / "mine.pt").exists()


def test_a_peptide_that_is_too_long_is_refused(peptide_dataset: Path, tmp_path: Path) -> None:
    from latentmd.systems.bundled import bundled

    runs = sorted((peptide_dataset / "trialanine").glob("*.xtc"))
    with pytest.raises(DatasetError, match="it has 10 residues; covered are 1 to 8"):
        finetune(runs, bundled("chignolin"), tmp_path / "mine.pt")
