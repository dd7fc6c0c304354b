"""Which molecules are covered, and the reasons in words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from latentmd.molecule.chemistry import chemistry
from latentmd.molecule.coverage import PeptideChemistry

PEPTIDES = PeptideChemistry(
    residues=frozenset({"ALA", "GLY"}), lengths=(1, 4), temperature=(300.0, 350.0), force_field=("amber14-all.xml",)
)


def test_a_chemistry(alanine_topology: Any) -> None:
    assert PEPTIDES.covers(alanine_topology)
    assert PEPTIDES.covers(alanine_topology, 325.0, ("amber14-all.xml",))
    assert "temperature is 400 K; covered are 300 to 350 K" in PEPTIDES.covers(alanine_topology, 400.0).reason
    assert "force field is a.xml" in PEPTIDES.covers(alanine_topology, None, ("a.xml",)).reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"residues": frozenset({"GLY"})}, "it holds ALA; covered are GLY"),
        ({"lengths": (2, 4)}, "it has 1 residues; covered are 2 to 4"),
        ({"ends": frozenset({"ACE"})}, "its ends are NME"),
    ],
)
def test_reasons_of_a_chemistry(alanine_topology: Any, change: dict[str, Any], reason: str) -> None:
    assert reason in PEPTIDES.model_copy(update=change).covers(chemistry(alanine_topology)).reason


def test_the_kind_decides_how_a_manifest_is_read() -> None:
    assert PeptideChemistry.model_validate_json(PEPTIDES.model_dump_json()) == PEPTIDES
    with pytest.raises(ValidationError, match="kind"):
        PeptideChemistry.model_validate({**PEPTIDES.model_dump(), "kind": "everything"})
