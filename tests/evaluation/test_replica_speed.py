"""Timings of the replica engine: what they relate to, and the reason where there are none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.evaluation.replica_speed import (
    NAME,
    REPLICAS,
    SpeedComparison,
    compare,
    per_core,
    per_core_line,
    replica_row,
    table,
)
from latentmd.replicas.library import library
from latentmd.replicas.terms import UnsupportedError
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled

compiled = pytest.mark.skipif(library() is None, reason="the kernel is not installed: there was no C++ compiler")


@compiled
def test_the_row_counts_the_steps_of_all_walkers(alanine: Any) -> None:
    row = replica_row(alanine, 0.02)
    assert row.name == NAME and int(row.size.split()[0]) >= REPLICAS
    assert 0 < row.low <= row.rate <= row.high
    assert row.simulated == pytest.approx(row.rate * alanine.protocol.timestep / 1000)


@compiled
def test_the_comparison_is_with_the_fastest_platform(alanine: Any) -> None:
    found = per_core(alanine, 0.02, rounds=1)
    assert found is not None and found["atoms"] == 22 and set(found["openmm"]) == {"Reference", "CPU"}
    assert found["ratio"][0] == pytest.approx(min(found["openmm"].values()) / found["engine"])
    assert f"{found['ratio'][0]:.1f} times" in per_core_line(found)


def test_a_force_that_the_engine_does_not_know_is_named(alanine: Any) -> None:
    system = openmm.XmlSerializer.clone(alanine.system)
    system.addForce(openmm.CustomBondForce("0"))
    molecule = replace(alanine, system=system)
    row = replica_row(molecule, 0.02)
    assert np.isnan(row.rate) and ("CustomBondForce" in row.note or library() is None)
    assert per_core(molecule, 0.02) is None


compiled_benchmark = pytest.mark.skipif(
    library() is None, reason="the replica kernel was not compiled_benchmark at installation"
)


@compiled_benchmark
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
        SpeedComparison(
            "a",
            22,
            replicas=32,
            variant="avx2",
            engine=1.5,
            openmm={"Reference": 30.0, "CPU": 120.0},
            ratio=(20.0, 19.0, 21.0),
        ),
        SpeedComparison(
            "b", 138, replicas=32, variant="avx2", engine=40.0, openmm={"CPU": 500.0}, ratio=(12.5, 12.0, 13.0)
        ),
    ]
    lines = table(rows).splitlines()
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert lines[2] == "| a | 22 | 32 | avx2 | 1.50 | 30.0 | 120.0 | 20.0 (19.0 to 21.0) |"
    assert "|  | 500.0 |" in lines[3]


@compiled_benchmark
def test_bad_input_is_refused() -> None:
    system = openmm.System()
    system.addParticle(1.0)
    with pytest.raises(ValueError, match="expected at least one of a positive time"):
        compare("none", system, np.zeros((1, 3)), rounds=0)
    system.addForce(openmm.CustomExternalForce("x"))
    with pytest.raises(UnsupportedError, match="CustomExternalForce"):
        compare("none", system, np.zeros((1, 3)))
