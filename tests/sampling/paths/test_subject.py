"""The molecule of a run: from files or from the model, and refused where files and model do not fit together."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.sampling.paths.subject import subject_of
from latentmd.systems.protocol import DEFAULT_INPUTS

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"
ALANINE = MOLECULES / "alanine_dipeptide.pdb"


def test_a_model_brings_its_own_molecule() -> None:
    subject = subject_of((), "alanine-dipeptide", DEFAULT_INPUTS)
    assert subject.structures == () and subject.molecule.system.getNumParticles() == 22
    assert subject.molecule.protocol.temperature == subject.manifest.temperature


def test_two_files_give_two_relaxed_structures(tmp_path: Path) -> None:
    moved = mdtraj.load(str(ALANINE))
    moved.xyz = moved.xyz + 0.5
    moved.save_pdb(str(tmp_path / "moved.pdb"))
    subject = subject_of((ALANINE, tmp_path / "moved.pdb"), None, DEFAULT_INPUTS)
    assert subject.model.manifest.name == "alanine-dipeptide" and len(subject.structures) == 2
    assert np.ptp(subject.structures[1] - subject.structures[0], axis=0).max() < 0.02  # a shift, and rounding
    assert (subject.reference == subject.structures[0]).all()


@pytest.mark.parametrize(
    ("files", "model", "reason"),
    [
        ((), None, "nothing says which molecule"),
        ((ALANINE, MOLECULES / "glycine_dipeptide.pdb"), "alanine-dipeptide", "a path joins two structures of one"),
        ((MOLECULES / "valine_dipeptide.pdb",), "alanine-dipeptide", "does not cover"),
        ((), "peptides", "a model of many peptides.*latentmd bind"),
        ((MOLECULES / "alanine_tetrapeptide.pdb",), None, "latentmd bind .*alanine_tetrapeptide.pdb"),
    ],
)
def test_files_and_models_that_do_not_fit_are_refused(files: tuple[Path, ...], model: str | None, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        subject_of(files, model, DEFAULT_INPUTS)
