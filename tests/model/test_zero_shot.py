"""What a user is told of a molecule that the model was not trained on."""

from __future__ import annotations

from latentmd.model.manifest import ZeroShot
from latentmd.model.zero_shot import zero_shot_lines

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
