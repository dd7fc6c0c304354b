"""Design: a residue that the model itself moved is found again, and what cannot be weighed is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from openmm.app import PDBFile

from latentmd.arrays import Doubles
from latentmd.evaluation.zero_shot import Rollouts
from latentmd.model.peptide_file import PeptideFile, load_peptides
from latentmd.molecule.chain import Chain, chain
from latentmd.molecule.known_torsions import known_torsions
from latentmd.sampling.paths.design import Gap, design

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"


@pytest.fixture(scope="module")
def peptides() -> PeptideFile:
    return load_peptides()


def _chain(name: str) -> Chain:
    pdb = PDBFile(str(MOLECULES / f"{name}.pdb"))
    return chain(pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value))


@pytest.fixture(scope="module")
def drawn(peptides: PeptideFile) -> tuple[Chain, Doubles]:
    """Met-enkephalin, YGGFM, as the model itself moves it."""
    torch.manual_seed(0)
    found = _chain("met_enkephalin")
    _, structures = Rollouts(peptides.model, found, seed=2).decoded(40, 1, 500.0)
    return found, structures.astype(np.float64)


def _outer(found: Chain, missing: list[int]) -> Any:
    residues = sorted(set(found.record.residue_index))
    hidden = {residues[token] for token in missing}
    return known_torsions(found, np.array([i for i, r in enumerate(found.record.residue_index) if r not in hidden]))


def test_a_glycine_is_found_by_its_neighbours(peptides: PeptideFile, drawn: tuple[Chain, Doubles]) -> None:
    found, x = drawn
    hidden = np.isin(found.record.residue_index, 2)
    x = np.where(hidden[:, None], np.nan, x)  # what it looks like is not looked at
    seen = []
    result = design(peptides, found, [2], _outer(found, [2]), x, seed=0, report=lambda *args: seen.append(args))
    assert len(result.types) == 20 and result.probability.shape == (1, 20)
    assert result.probability.sum() == pytest.approx(1.0)
    assert result.types[int(result.probability[0].argmax())] == "GLY"
    assert result.pairs[0] == (("GLY",), pytest.approx(result.probability.max()))
    assert seen[-1] == ("weighing residue types", 25, 25)
    again = design(peptides, found, [2], _outer(found, [2]), x, seed=0)
    np.testing.assert_array_equal(again.probability, result.probability)


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        ("met_enkephalin", [0], "ends of the chain"),
        ("met_enkephalin", [4], "ends of the chain"),
        ("met_enkephalin", [1, 3], "beside each other; 2 are named"),
        ("met_enkephalin", [1, 2, 3], "3 are named"),
        ("alanine_tetrapeptide", [1], "residues beside a cap"),
    ],
)
def test_what_cannot_be_weighed_is_refused(name: str, missing: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gap(_chain(name), missing)
