"""Training of the path model of many peptides on a small data set."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.model.paths import load_path_model
from latentmd.model.peptide_file import peptides_sha256
from latentmd.training.paths import PathTraining, train_peptide_paths
from latentmd.training.peptides.dataset import DatasetError

SHORT = PathTraining(longest_lag=10.0, steps=3, batch=4, width=16, depth=1, lengths=(16,))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_path_model_of_peptides_of_several_lengths(peptide_dataset: Path, tmp_path: Path) -> None:
    out = train_peptide_paths(peptide_dataset, "peptides", tmp_path / "p.paths.pt", SHORT)
    model, record = load_path_model(out, peptides_sha256())
    assert model.dim == 16 and model.settings.several_tokens
    assert set(record.kinds) == {"ACE", "ALA", "GLY", "NME", "VAL", "first", "inner", "last"}
    assert record.frames == 4 * 2 * 24 and record.lag == (10.0, 10.0)


def spaced(dataset: Path, folder: Path, spacings: dict[str, float]) -> None:
    """Runs of a data set with other times between their frames."""
    for name, spacing in spacings.items():
        own = folder / name
        own.mkdir()
        (own / "topology.pdb").write_text((dataset / name / "topology.pdb").read_text())
        run = mdtraj.load(str(dataset / name / "walker-0000.xtc"), top=str(own / "topology.pdb"))
        run.time = spacing * np.arange(len(run))
        run.save_xtc(str(own / "walker-0000.xtc"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_molecules_may_have_different_spacings(peptide_dataset: Path, tmp_path: Path) -> None:
    spaced(peptide_dataset, tmp_path, {"trialanine": 10.0, "alanine_dipeptide": 5.0})
    _, record = load_path_model(
        train_peptide_paths(tmp_path, "peptides", tmp_path / "p.paths.pt", SHORT), peptides_sha256()
    )
    assert record.lag == (5.0, 10.0) and record.frame_interval == 5.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_frames_further_apart_than_the_longest_lag_are_refused(peptide_dataset: Path, tmp_path: Path) -> None:
    spaced(peptide_dataset, tmp_path, {"trialanine": 20.0})
    with pytest.raises(DatasetError, match=r"trialanine has a frame every 20 ps; expected 10 ps, the longest lag"):
        train_peptide_paths(tmp_path, "peptides", tmp_path / "p.paths.pt", SHORT)
