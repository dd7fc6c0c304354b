"""How near a peptide is to a training set, and what a user is told of it."""

from __future__ import annotations

import math

import torch

from latentmd.model.manifest import ZeroShot
from latentmd.model.zero_shot import Near, known_pairs, latent_distance, nearest_sequences, zero_shot_lines

FOUND = ZeroShot(
    model="peptides", sha256="0" * 64, sequence="ACE-ALA-VAL-NME", trained=False,
    nearest=[("ACE-ALA-GLY-NME", 1), ("ALA-VAL-SER", 2)], pairs=0.5, latent_distance=1.25,
)  # fmt: skip


def test_an_unseen_molecule_is_called_zero_shot_with_its_neighbours() -> None:
    lines = zero_shot_lines(FOUND, "some/where/my.pdb")
    assert lines[0].startswith("zero-shot: not trained on this molecule")
    assert "ALA-VAL-SER (2 of 2 residues in place); 50 % of its pairs" in lines[1]  # caps are not counted
    assert lines[2].startswith("latent distance to the training set: 1.2")
    assert "latentmd simulate some/where/my.pdb --wall 10min" in lines[-1]
    assert "--out my-md" in lines[-1] and "--from peptides" in lines[-1]
    assert not any("structure checks" in line for line in lines)


def test_checks_and_distance_are_told_where_they_are_known() -> None:
    lines = zero_shot_lines(FOUND.model_copy(update={"latent_distance": None}), "my.pdb", sound=0.987)
    assert "structure checks: 98.7 % of frames pass" in lines
    assert not any("latent distance" in line for line in lines)


def test_a_training_sequence_is_called_one() -> None:
    lines = zero_shot_lines(FOUND.model_copy(update={"trained": True}), "my.pdb")
    assert "one of those that the model peptides was trained on" in lines[0]


def test_the_command_of_fine_tuning_names_the_bundled_model_or_the_file_of_another() -> None:
    assert "--from peptides --out my.pt" in zero_shot_lines(FOUND, "my.pdb")[-1]
    other = zero_shot_lines(FOUND.model_copy(update={"model": "many"}), "my.pdb")
    assert "--from many.pt --out my.pt" in other[-1]


TRAINING = ["GLY-VAL", "ALA-SER-SER", "ACE-VAL-ALA-NME", "SER-GLY-SER"]


def test_the_nearest_sequence_shares_most_residues_then_most_pairs() -> None:
    assert nearest_sequences("ALA-GLY-VAL", TRAINING, 1) == [Near("GLY-VAL", 2)]
    assert nearest_sequences("SER-GLY-VAL", TRAINING, 2) == [Near("SER-GLY-SER", 2), Near("GLY-VAL", 2)]
    assert nearest_sequences("ACE-VAL-NME", TRAINING, 1)[0].shared == 1  # caps count for nothing


def test_known_pairs() -> None:
    assert known_pairs("ALA-SER-GLY", TRAINING) == 1.0
    assert known_pairs("ALA-SER-VAL", TRAINING) == 0.5
    assert known_pairs("ALA", TRAINING) == 1.0


def test_latent_distance_is_one_between_equal_spacings() -> None:
    trained, kinds = torch.arange(5.0).unsqueeze(1), torch.zeros(5, dtype=torch.uint8)
    kind = torch.zeros(1, dtype=torch.long)
    assert latent_distance(torch.tensor([[5.0]]), kind, trained, kinds) == 1.0
    assert latent_distance(torch.tensor([[7.0]]), kind, trained, kinds) == 3.0
    assert math.isinf(latent_distance(torch.tensor([[7.0]]), kind + 1, trained, kinds))


def test_the_lines_say_what_was_and_was_not_trained_on() -> None:
    found = ZeroShot(
        model="peptides",
        sha256="0",
        sequence="ACE-VAL-NME",
        trained=False,
        nearest=[("VAL", 1)],
        pairs=0.5,
        latent_distance=1.25,
    )
    text = "\n".join(zero_shot_lines(found, "folder/my.pdb", 0.5))
    assert "zero-shot: not trained on this molecule" in text and "VAL (1 of 1 residues in place)" in text
    assert "50.0 % of frames pass" in text and "--out my.pt" in text
    assert "is one of those" in zero_shot_lines(found.model_copy(update={"trained": True}), "my.pdb")[0]
