"""Timings of the replica engine: what they relate to, and the reason where there are none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.evaluation.replica_speed import NAME, REPLICAS, per_core, per_core_line, replica_row
from latentmd.replicas.library import library

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
