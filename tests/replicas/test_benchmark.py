"""The comparison of speed: what it measures and how it is printed; nothing about how fast anything is."""

from __future__ import annotations

import numpy as np
import openmm
import pytest

from latentmd.replicas.benchmark import Comparison, compare, table
from latentmd.replicas.library import library
from latentmd.replicas.terms import UnsupportedError
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled

compiled = pytest.mark.skipif(library() is None, reason="the replica kernel was not compiled at installation")


@compiled
def test_a_comparison_is_consistent_with_itself() -> None:
    molecule = build(bundled("alanine_dipeptide"))
    row = compare(
        "ala", molecule.system, molecule.positions._value, replicas=16, variant="portable", rounds=3, seconds=0.02
    )
    assert (row.atoms, row.replicas, row.variant) == (22, 16, "portable")
    assert set(row.openmm) == {"Reference", "CPU"} and min(row.openmm.values()) > 0 and row.engine > 0
    assert row.ratio[1] <= row.ratio[0] <= row.ratio[2]


def test_the_table_has_a_line_for_each_molecule() -> None:
    rows = [
        Comparison(
            "a",
            22,
            replicas=32,
            variant="avx2",
            engine=1.5,
            openmm={"Reference": 30.0, "CPU": 120.0},
            ratio=(20.0, 19.0, 21.0),
        ),
        Comparison("b", 138, replicas=32, variant="avx2", engine=40.0, openmm={"CPU": 500.0}, ratio=(12.5, 12.0, 13.0)),
    ]
    lines = table(rows).splitlines()
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert lines[2] == "| a | 22 | 32 | avx2 | 1.50 | 30.0 | 120.0 | 20.0 (19.0 to 21.0) |"
    assert "|  | 500.0 |" in lines[3]


@compiled
def test_bad_input_is_refused() -> None:
    system = openmm.System()
    system.addParticle(1.0)
    with pytest.raises(ValueError, match="expected at least one of a positive time"):
        compare("none", system, np.zeros((1, 3)), rounds=0)
    system.addForce(openmm.CustomExternalForce("x"))
    with pytest.raises(UnsupportedError, match="CustomExternalForce"):
        compare("none", system, np.zeros((1, 3)))
