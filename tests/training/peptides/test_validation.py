"""Scores on unseen peptides: a good model beats a shuffled one, and draws have the right shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from latentmd.evaluation.residue_table import ResidueTable, frame_scores
from latentmd.model.peptide_file import PeptideFile, load_peptides
from latentmd.model.peptides import PeptideModel
from latentmd.training.peptides.data import TURN, Peptides, read
from latentmd.training.peptides.dataset import find_molecules, read_molecule
from latentmd.training.peptides.validation import (
    draw,
    likelihoods,
    peptide_angles,
    redraw,
    residue_table,
    score_table,
    validate,
)


@pytest.fixture(scope="module")
def file() -> PeptideFile:
    return load_peptides()


@pytest.fixture(scope="module")
def peptides(peptide_dataset: Path) -> Peptides:
    return read(map(read_molecule, find_molecules(peptide_dataset)), torch.device("cpu"))


def test_angles_of_a_peptide_are_its_rows(peptides: Peptides) -> None:
    group = peptides.groups[3]
    assert peptide_angles(group, 1).shape == (48, *group.mask.shape[1:])
    np.testing.assert_allclose(peptide_angles(group, 1)[0], group.angles[48].numpy() / TURN)


def test_the_table_of_one_peptide_is_its_own_histogram(peptides: Peptides) -> None:
    table = residue_table(peptides)
    name = "valine_dipeptide"
    md = peptide_angles(peptides.groups[3], peptides.groups[3].names.index(name))
    assert table.scores(peptides.chains[name], md)["torsions"] == pytest.approx(0.0, abs=1e-6)


def test_the_model_that_drew_the_frames_finds_them_likelier(peptides: Peptides, file: PeptideFile) -> None:
    torch.manual_seed(0)
    other = PeptideModel(file.model.config).eval()
    mine, theirs = likelihoods(file.model, peptides, 2, 100.0), likelihoods(other, peptides, 2, 100.0)
    assert set(mine) == {"now", "ever", "later"}
    assert all(mine[name] < theirs[name] - 0.5 for name in mine)


def test_draws_are_seeded_and_forget_where_they_began(peptides: Peptides, file: PeptideFile) -> None:
    group = peptides.groups[3]
    (drawn,) = draw(file.model, group, rows=200, lag=0.0, steps=0, keep=1)
    assert drawn.shape == (4, 200, *group.mask.shape[1:])
    steps = draw(file.model, group, rows=5, lag=100.0, steps=3, keep=2)
    assert len(steps) == 2 and torch.equal(steps[1], draw(file.model, group, rows=5, lag=100.0, steps=3, keep=2)[1])
    found = peptides.chains[group.names[0]]
    assert frame_scores(found, drawn[0, ::2].numpy(), drawn[0, 1::2].numpy())["torsions"] < 0.5


def test_a_latent_decodes_to_the_torsions_it_came_from(peptides: Peptides, file: PeptideFile) -> None:
    group = peptides.groups[3]
    truth, again = redraw(file.model, group, rows=20)
    error = torch.remainder(again - truth + np.pi, 2 * np.pi) - np.pi
    assert float(error.abs()[:, :, group.mask[0]].mean()) < np.deg2rad(20)


def test_everything_is_compared_with_all_frames(peptides: Peptides, file: PeptideFile) -> None:
    found = validate(
        file.model, ResidueTable.of(file.statistics), peptides=peptides, rows=20, lags=(100.0,), steps=5
    )  # fmt: skip
    assert set(found) == {"3"} and set(found["3"]) == {"table", "half", "ever", "rollout 100", "redraw"}
    text = score_table(found)
    assert (
        "residue table" in text and "model, rollout 100 ps" in text and f"{found['3']['ever']['torsions']:.3f}" in text
    )
